//! What is counted and traced of every request over HTTP.

use std::time::Instant;

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::Method,
    middleware::Next,
    web,
};
use actors::{span, trace};
use tracing::{Instrument as _, field};

use crate::{app::App, metrics::Interface, problem::Problem};

/// Counts how long the answer took, and the problem that it is, if it is one. What may become a command
/// begins a trace, or goes on with that of its `traceparent`.
pub(crate) async fn observe<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let since = Instant::now();
    let app = request.app_data::<web::Data<App>>().cloned();
    let (path, method) = (request.path().to_owned(), request.method().clone());
    let header = request.headers().get(trace::HEADER).and_then(|value| value.to_str().ok());
    let cause = if is_write(&method, &path) { trace::begins(header) } else { None };
    let span = span!("request", cause, method = %method, status = field::Empty);
    let response = next.call(request).instrument(span.clone()).await?;
    span.record("status", response.status().as_u16());
    if let Some(app) = app {
        let problem = response.response().error().and_then(|error| error.as_error::<Problem>());
        if let Some(problem) = problem {
            app.metrics().problem(Interface::Http, problem.code);
        }
        app.metrics().answered(&path, &method, response.status(), since.elapsed());
    }
    Ok(response)
}

fn is_write(method: &Method, path: &str) -> bool {
    !method.is_safe() && !path.starts_with("/dev/")
}
