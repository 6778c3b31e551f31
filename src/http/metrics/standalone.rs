//! `/metrics` of a broker that runs by itself: plain HTTP on loopback, without a token, since there
//! is no fleet here that could know one. Nothing but counts is given away.

use super::{CONTENT_TYPE, broker, own, text::Text};
use crate::{
    broker::{Broker, Counters},
    support::Shutdown,
};
use axum::http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{net::TcpListener, sync::Semaphore, time};

/// Connections at the same time.
const MAX_CONNECTIONS: usize = 16;
/// For a request's headers.
const HEADERS: Duration = Duration::from_secs(10);
/// How long one connection is kept: longer than a minute between two scrapes.
const LASTS: Duration = Duration::from_secs(300);

/// Serves the broker's counts on `address` until shutdown; gives the real address.
///
/// # Errors
/// The address cannot be listened on; a sentence.
pub(crate) async fn serve_broker(
    address: SocketAddr,
    counted: Arc<Broker>,
    shutdown: Shutdown,
) -> Result<SocketAddr, String> {
    let refused = |e| {
        format!("cannot listen on {address} for metrics ({e}); choose another --metrics-listen")
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    // Not to keep the broker from ending.
    tokio::spawn(accept(listener, Arc::downgrade(&counted), shutdown));
    Ok(bound)
}

async fn accept(listener: TcpListener, counted: Weak<Broker>, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.wait() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: give others the time to close some.
            time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let (counted, shutdown) = (counted.clone(), shutdown.clone());
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request: Request<Incoming>| {
                let counters = counted.upgrade().map(|b| b.counters());
                async move { Ok::<_, Infallible>(answer(&request, counters)) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = time::timeout(LASTS, connection) => {}
                () = shutdown.wait() => {}
            }
        });
    }
}

fn answer<B>(request: &Request<B>, counters: Option<Counters>) -> Response<String> {
    let (status, kind, body) = match (request.uri().path(), request.method(), counters) {
        ("/metrics", &Method::GET | &Method::HEAD, Some(counters)) => {
            let mut text = Text::with_capacity(8_192);
            own::write(&mut text);
            broker::write(&counters, &mut text);
            (StatusCode::OK, CONTENT_TYPE, text.done())
        }
        ("/metrics", _, Some(_)) => (
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "only GET is answered here\n".to_owned(),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "there is only /metrics here\n".to_owned(),
        ),
    };
    let built = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, kind)
        .body(body);
    built.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_counts_are_given() {
        let ask = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path).body(());
            answer(&request.unwrap(), Some(Counters::default()))
        };
        let fine = ask(Method::GET, "/metrics?x=1");
        assert_eq!(fine.status(), 200);
        assert!(fine.body().contains("fleetctl_broker_connections 0\n"));
        assert!(fine.body().contains("fleetctl_build_info{"));
        assert_eq!(ask(Method::POST, "/metrics").status(), 405);
        assert_eq!(ask(Method::GET, "/").status(), 404);
    }
}
