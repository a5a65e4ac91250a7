//! How `object_store` speaks HTTP here: through the guarded way out, as everything else does. The machine's metadata service, which the guard
//! keeps everybody from, is asked by a client of its own that reaches nothing else.

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService,
    },
};
use runtime::{
    config::MetadataService,
    egress::{Client, EgressError, Policy, Request, Url},
};
use sync_wrapper::SyncStream;

/// Makes clients that leave through [`runtime::egress`].
#[derive(Debug)]
pub(super) struct GuardedConnector(Guarded);

impl GuardedConnector {
    /// The administrator names the store, which may lie in a private network. A redirect is an answer like any other: a store that
    /// moves a bucket says so in an error.
    pub(super) fn new(metadata: Option<&MetadataService>) -> Result<Self, EgressError> {
        let policy = Policy { max_redirects: 0, max_bytes: u64::MAX, ..Policy::administrator() };
        let metadata = match metadata {
            Some(service) => Some((service.url.clone(), Client::new(Policy::metadata(service.address))?)),
            None => None,
        };
        Ok(Self(Guarded { store: Client::new(policy)?, metadata }))
    }
}

impl HttpConnector for GuardedConnector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

#[derive(Debug, Clone)]
struct Guarded {
    store: Client,
    /// Where the metadata service is, and who asks it.
    metadata: Option<(Url, Client)>,
}

impl Guarded {
    fn client_for(&self, url: &str) -> &Client {
        match &self.metadata {
            Some((service, client)) if Url::parse(url).is_ok_and(|url| url.origin() == service.origin()) => {
                client
            }
            _ => &self.store,
        }
    }
}

#[async_trait::async_trait]
impl HttpService for Guarded {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let url = head.uri.to_string();
        let request = Request { method: head.method, url, headers: head.headers, body };
        let answer = self.client_for(&request.url).send(request).await.map_err(told)?;

        let (status, headers) = (answer.status, answer.headers.clone());
        let pieces = stream::try_unfold(answer, |mut answer| async {
            let piece: Option<Bytes> = answer.chunk().await.map_err(told)?;
            Ok(piece.map(|piece| (http_body::Frame::data(piece), answer)))
        });
        let mut response = HttpResponse::new(HttpResponseBody::new(StreamBody::new(SyncStream::new(pieces))));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// The kind decides whether the request is sent again.
fn told(error: EgressError) -> HttpError {
    let kind = match &error {
        permanent if permanent.is_permanent() => HttpErrorKind::Unknown,
        EgressError::Unreachable { .. } => HttpErrorKind::Connect,
        EgressError::Timeout { .. } => HttpErrorKind::Timeout,
        EgressError::Broken { .. } => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}
