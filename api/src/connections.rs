//! Connections: taken, served, and let go when nothing comes of them.
//!
//! HTTP/1.1 and HTTP/2 without TLS, which is a proxy's business. What is answered is [`app`]'s. Start at [`answer`].

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::ConnectInfo,
    serve::Listener,
};
use hyper::{
    Request, Response,
    body::{Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{server::app, state::AppState};

/// Answers what comes to `listener` until `end`, then finishes what is under way. Dropped, it ends every connection.
pub async fn answer(mut listener: TcpListener, state: AppState, end: impl Future<Output = ()>) {
    let silence = state.patience.silence;
    let app = app(state);
    let ending = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut end = pin!(end);
    loop {
        tokio::select! {
            (stream, peer) = Listener::accept(&mut listener) => {
                connections.spawn(attend(stream, peer, app.clone(), silence, ending.clone()));
            }
            Some(_) = connections.join_next() => {}
            () = &mut end => break,
        }
    }
    drop(listener);
    ending.cancel();
    while connections.join_next().await.is_some() {}
}

async fn attend(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    silence: Duration,
    ending: CancellationToken,
) {
    let (requests, count) = watch::channel(0);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let under_way = UnderWay::begin(&requests);
        let answer = app.clone().oneshot(request);
        async move {
            let Ok(answer) = answer.await;
            Ok::<Response<_>, Infallible>(answer.map(|body| Answer { body, _under_way: under_way }))
        }
    });
    let protocols = auto::Builder::new(TokioExecutor::new());
    let mut connection = pin!(protocols.serve_connection(TokioIo::new(stream), service));
    let mut silent = pin!(long_silence(count, silence));
    let mut told = false;
    loop {
        tokio::select! {
            // In this order, so that a request that came at the last moment is one.
            biased;
            // How it went is in the answers; whoever breaks it off has gone away.
            _ = connection.as_mut() => return,
            () = &mut silent => return,
            () = ending.cancelled(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Resolves when there was no request under way for as long as `patience`.
async fn long_silence(mut under_way: watch::Receiver<usize>, patience: Duration) {
    loop {
        let idle = *under_way.borrow_and_update() == 0;
        let wait = if idle { patience } else { Duration::MAX };
        if !matches!(timeout(wait, under_way.changed()).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// A request that counts until it is dropped.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn begin(requests: &watch::Sender<usize>) -> Self {
        requests.send_modify(|count| *count += 1);
        Self(requests.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The body of an answer. Its request is under way until it has been sent.
struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
