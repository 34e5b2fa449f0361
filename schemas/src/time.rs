//! Points in time: milliseconds since 1970-01-01T00:00:00Z, RFC 3339 in JSON,
//! `timestamp-millis` in Avro.

use std::{fmt, str::FromStr};

use apache_avro::{
    AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::Error as _};

/// A point in time with millisecond precision. Ordered; may lie before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch. Values beyond the years ±9999 are cut to them.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(
            jiff::Timestamp::MIN.as_second() * 1000,
            jiff::Timestamp::MAX.as_second() * 1000,
        ))
    }

    /// Milliseconds since the Unix epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// This time shifted by `millis`, which may be negative; saturates at the years ±9999.
    pub fn plus_millis(self, millis: i64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or_default().fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond())).map_err(|_| {
            format!("must be an RFC 3339 time such as 2026-12-01T09:30:00Z, got {text:?}")
        })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Self::from_millis)
        }
    }
}

impl AvroSchemaComponent for Timestamp {
    fn get_schema_in_ctxt(_: &mut std::collections::HashSet<Name>, _: NamespaceRef<'_>) -> Schema {
        Schema::TimestampMillis
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_in_json_and_keep_milliseconds() {
        let time: Timestamp = "2026-12-01T10:30:00+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-12-01T09:30:00Z");
        assert_eq!(Timestamp::from_millis(1_500).to_string(), "1970-01-01T00:00:01.5Z");
        assert!("tomorrow".parse::<Timestamp>().unwrap_err().contains("RFC 3339"));
    }

    #[test]
    fn absurd_times_are_cut_and_still_print() {
        let text = Timestamp::from_millis(i64::MAX).to_string();
        assert_eq!(text.parse::<Timestamp>().unwrap(), Timestamp::from_millis(i64::MAX));
        assert!(text.starts_with("9999"), "{text}");
        assert!(Timestamp::from_millis(i64::MIN).to_string().starts_with("-009999"));
    }
}
