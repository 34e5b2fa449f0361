//! A field of an update: left alone, cleared, or set.

use apache_avro::{
    AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an update does to one field. In JSON: absent, `null`, or the value. In Avro: null, an
/// empty array, or an array of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// The field stays as it is.
    #[default]
    Keep,
    /// The field loses its value.
    Clear,
    /// The field takes this value.
    Set(T),
}

impl<T> Patch<T> {
    /// Whether the field stays as it is.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// `Set` for a value, `Clear` for none.
    pub fn from_option(value: Option<T>) -> Self {
        value.map_or(Self::Clear, Self::Set)
    }

    /// The value if there is one to set.
    pub fn as_set(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Clear => None,
        }
    }

    /// Writes this into a field that may be without a value.
    pub fn apply_to(&self, field: &mut Option<T>)
    where
        T: Clone,
    {
        match self {
            Self::Keep => {}
            Self::Clear => *field = None,
            Self::Set(value) => *field = Some(value.clone()),
        }
    }

    /// Writes this into a field whose cleared form is its default.
    pub fn apply_or_default(&self, field: &mut T)
    where
        T: Clone + Default,
    {
        match self {
            Self::Keep => {}
            Self::Clear => *field = T::default(),
            Self::Set(value) => *field = value.clone(),
        }
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let human = serializer.is_human_readable();
        match self {
            Self::Keep => serializer.serialize_none(),
            Self::Clear if human => serializer.serialize_none(),
            Self::Clear => serializer.serialize_some::<[T]>(&[]),
            Self::Set(value) if human => serializer.serialize_some(value),
            Self::Set(value) => serializer.serialize_some(std::slice::from_ref(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Option::<T>::deserialize(deserializer).map(Self::from_option);
        }
        Ok(match Option::<Vec<T>>::deserialize(deserializer)? {
            None => Self::Keep,
            Some(values) => Self::from_option(values.into_iter().next()),
        })
    }
}

impl<T: AvroSchemaComponent> AvroSchemaComponent for Patch<T> {
    fn get_schema_in_ctxt(
        named_schemas: &mut std::collections::HashSet<Name>,
        enclosing_namespace: NamespaceRef<'_>,
    ) -> Schema {
        Option::<Vec<T>>::get_schema_in_ctxt(named_schemas, enclosing_namespace)
    }

    fn field_default() -> Option<serde_json::Value> {
        Some(serde_json::Value::Null)
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Patch_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Option::<T>::json_schema(generator)
    }
}
