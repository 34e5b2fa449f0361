//! The codes of PROTOCOL.md and the "no" that carries one.

use apache_avro::AvroSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Malformed, an unknown field, or out of bounds.
    Invalid,
    /// No token, or one that does not hold.
    Unauthenticated,
    /// Known, but without the right.
    Forbidden,
    /// There is no such thing; also another tenant's.
    NotFound,
    /// `expect` did not hold, a duplicate, or the wrong state for this.
    Conflict,
    /// The column is full.
    WipLimit,
    /// The event is full.
    Full,
    /// The state may not change so.
    Transition,
    /// Too many bytes.
    TooLarge,
    /// Too often; `retryAfter` says when to come back.
    RateLimited,
    /// The owner is moving or the broker is away; safe to retry with the same command id.
    Unavailable,
    /// Not known whether it took effect; a retry with the same command id tells.
    Timeout,
}

crate::avro_enum!(Code: "invalid", "unauthenticated", "forbidden", "not_found", "conflict", "wip_limit", "full", "transition", "too_large", "rate_limited", "unavailable", "timeout");

impl Code {
    /// The code as clients read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::WipLimit => "wip_limit",
            Self::Full => "full",
            Self::Transition => "transition",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
        }
    }
}

/// One field that did not hold, by its path in the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema, JsonSchema)]
pub struct FieldError {
    /// The path, such as `columns[2].title`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// A "no" to whoever asked; nothing is broken. Infrastructure failures are other types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, AvroSchema, thiserror::Error)]
#[error("{}: {reason}", code.as_str())]
pub struct Rejection {
    /// The class of the refusal.
    pub code: Code,
    /// For people: one sentence.
    pub reason: String,
    /// The fields that did not hold, if it is about fields.
    #[serde(default)]
    pub errors: Vec<FieldError>,
}

impl Rejection {
    /// A refusal that is not about one field.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), errors: Vec::new() }
    }

    /// `invalid`, about one field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let error = FieldError { field: field.into(), message: message.into() };
        let reason = format!("{}: {}", error.field, error.message);
        Self { code: Code::Invalid, reason, errors: vec![error] }
    }
}
