//! Errors as `application/problem+json` (RFC 9457).

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use schemas::{Code, FieldError, Rejection};
use serde::Serialize;

/// What went wrong with a request, for whoever made it.
#[derive(Debug, Clone, Serialize, thiserror::Error, schemars::JsonSchema)]
#[error("{title}: {detail}")]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The class of the problem in words.
    pub title: String,
    /// The class of the problem for programs.
    pub code: Code,
    /// One sentence about this occurrence.
    pub detail: String,
    /// The fields that did not hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds after which a retry makes sense; also the `Retry-After` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<f64>,
}

impl Problem {
    /// A problem of a class.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = status_of(code);
        let title = status.canonical_reason().unwrap_or_default().to_owned();
        Self {
            status: status.as_u16(),
            title,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// The same with another status: a failed If-Match is 412, a malformed body 400.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self.title = status.canonical_reason().unwrap_or_default().to_owned();
        self
    }

    /// The same with a time after which a retry makes sense, in seconds.
    pub fn with_retry_after(mut self, seconds: f64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The same problem as the `error` of a WebSocket answer.
    pub fn to_answer(&self) -> serde_json::Value {
        let mut error = serde_json::json!({"code": self.code, "message": self.detail});
        if !self.errors.is_empty() {
            error["errors"] = serde_json::json!(self.errors);
        }
        if let Some(seconds) = self.retry_after {
            error["retryAfter"] = seconds.into();
        }
        error
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let mut problem = Self::new(rejection.code, rejection.reason);
        problem.errors = rejection.errors;
        if problem.code == Code::RateLimited {
            problem.retry_after = Some(1.0);
        }
        problem
    }
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict | Code::WipLimit | Code::Full | Code::Transition => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        if let Some(seconds) = self.retry_after {
            response
                .insert_header((header::RETRY_AFTER, format!("{:.0}", seconds.ceil().max(1.0))));
        }
        if self.code == Code::Unauthenticated {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.body(serde_json::to_vec(self).unwrap_or_default())
    }
}
