//! What is counted about requests, and what traces are told of them.

use std::time::{Duration, Instant};

use axum::{
    extract::{MatchedPath, Request},
    http::{Method, StatusCode},
};
use runtime::{
    metrics::{self, Held, Word},
    trace::{self, Part},
};
use tracing::Span;

use crate::layers::shown_path;

/// A request that is being worked on.
pub(crate) struct Observed {
    /// Its route's template: a path would be another one for each id.
    route: String,
    method: &'static str,
    begun: Instant,
    _in_flight: Held,
}

impl Observed {
    /// From now on. `span` is the request's, with the fields that [`Part`] wants.
    pub(crate) fn begin(request: &Request, span: &Span) -> Self {
        let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
        let method = word(request.method());
        Part {
            kind: "server",
            name: &format!("{method} {route}"),
            from: request.headers().get(trace::TRACEPARENT).and_then(|value| value.to_str().ok()),
            attributes: &[
                ("http.request.method", method),
                ("http.route", route),
                ("url.path", shown_path(request.uri().path())),
            ],
        }
        .describe(span);
        Self {
            route: route.to_owned(),
            method,
            begun: Instant::now(),
            _in_flight: metrics::HTTP_IN_FLIGHT.hold([]),
        }
    }

    /// It was answered with `status`; returns after how long.
    pub(crate) fn answered(self, status: StatusCode, span: &Span) -> Duration {
        let took = self.begun.elapsed();
        trace::answered(span, status.as_u16());
        let labels: [Word; 3] = [self.route.into(), self.method.into(), status.as_str().to_owned().into()];
        metrics::HTTP_DURATION.observe(labels.clone(), took.as_secs_f64());
        metrics::HTTP_REQUESTS.add(labels, 1);
        took
    }
}

/// The method; one word for all that are not usual, since anybody may invent some.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}
