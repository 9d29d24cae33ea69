//! A small HTTP server for those who watch a run: `/metrics`, `/health` and `/ready`.
//!
//! It has a thread of its own and ends with the run. A client gets one answer a connection, within some seconds, and only so many are
//! served at a time: who is slow or silent costs a connection and some kilobytes, and never the run anything.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

use super::metrics::{For, metrics};
use super::pulse::Health;
use super::stages::Measures;

/// Connections that are served at a time; others wait in the system's queue. Prometheus needs one.
const CONNECTIONS: usize = 16;

/// How long a connection may last, from when it was made: more than any scrape takes, and what somebody who is silent keeps one for.
const CONNECTION: Duration = Duration::from_secs(10);

/// How long after an error, such as that of too many open files, another connection is waited for.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of a request's head.
const HEAD: usize = 16 << 10;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The server; dropped, it ends, whoever is connected.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves what `measures` say from now on; gives the address too, whose port was chosen where 0 was asked for.
    pub fn start(address: SocketAddr, measures: Arc<Measures>) -> io::Result<(Server, SocketAddr)> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let span = tracing::Span::current();
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            let _entered = span.enter();
            runtime.block_on(async {
                tokio::select! {
                    // Dropped by who ends the server.
                    _ = stopped => {}
                    () = serve(listener, measures) => {}
                }
            });
            runtime.shutdown_background();
        })?;
        Ok((Server { stop: Some(stop), thread: Some(thread) }, address))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // One that panicked has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, measures: Arc<Measures>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::warn!("metrics are not served: {error}"),
    };
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("a connection for metrics was not taken: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let measures = Arc::clone(&measures);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &measures);
                async move { Ok::<_, std::convert::Infallible>(answer) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(CONNECTION).keep_alive(false).max_buf_size(HEAD);
            // Whatever a client does wrong is the client's affair.
            let _ = tokio::time::timeout(CONNECTION, http.serve_connection(TokioIo::new(stream), service)).await;
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, measures: &Measures) -> Response<String> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are answered\n".to_owned());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, METRICS, metrics(measures, For::Scrape)),
        "/health" => match measures.pulse().health(measures) {
            Health::Alive(words) => text(StatusCode::OK, TEXT, format!("alive: {words}\n")),
            Health::Stalled(words) => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("stalled: {words}\n")),
        },
        "/ready" => {
            let phase = measures.course().phase().name();
            let (status, word) =
                if measures.course().is_ready() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
            text(status, TEXT, format!("{word}: {phase}\n"))
        }
        "/" => text(StatusCode::OK, TEXT, "discodiff\n/metrics\n/health\n/ready\n".to_owned()),
        _ => text(StatusCode::NOT_FOUND, TEXT, "there are /metrics, /health and /ready\n".to_owned()),
    }
}

fn text(status: StatusCode, content: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
