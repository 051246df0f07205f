//! Connections.
//!
//! Owns accepting, the time a client has to say what it wants, and the end: when the daemon stops, requests under way
//! are answered, streams end, and what takes longer is cut off.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::socket::Sockets;

/// A client that takes longer to send a request's head holds a connection for nothing. It is also how long a kept
/// connection may be idle.
const HEAD: Duration = Duration::from_secs(30);

/// How long requests under way may take once the daemon stops.
const GRACE: Duration = Duration::from_secs(3);

/// After a failed accept: out of file descriptors, most likely, and some will be free again.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What every connection needs.
#[derive(Clone)]
struct Server {
    router: Router,
    connections: TaskTracker,
    shutdown: CancellationToken,
}

/// Serves until `shutdown`, then until what is under way is answered.
pub async fn serve(sockets: Sockets, router: Router, shutdown: CancellationToken) {
    let server = Server { router, connections: TaskTracker::new(), shutdown };
    let accepting = TaskTracker::new();
    for listener in sockets.unix {
        accepting.spawn(server.clone().accept_unix(listener));
    }
    for listener in sockets.tcp {
        accepting.spawn(server.clone().accept_tcp(listener));
    }
    server.shutdown.cancelled().await;
    accepting.close();
    accepting.wait().await;
    if let Some(path) = sockets.made {
        // Whoever connects from now on learns that nobody is there.
        let _ = std::fs::remove_file(path);
    }
    server.connections.close();
    if tokio::time::timeout(GRACE, server.connections.wait()).await.is_err() {
        tracing::warn!("requests still under way were cut off");
    }
}

impl Server {
    async fn accept_unix(self, listener: UnixListener) {
        // Cancel-safe: a connection that was not accepted stays in the queue.
        while let Some(accepted) = self.shutdown.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => self.connection(stream),
                Err(error) => refused(&error).await,
            }
        }
    }

    async fn accept_tcp(self, listener: TcpListener) {
        while let Some(accepted) = self.shutdown.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    // Answers are small and complete: waiting for more to send only delays them.
                    let _ = stream.set_nodelay(true);
                    self.connection(stream);
                }
                Err(error) => refused(&error).await,
            }
        }
    }

    fn connection<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = TowerToHyperService::new(self.router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let shutdown = self.shutdown.clone();
        self.connections.spawn(async move {
            let mut connection = pin!(connection);
            // Both arms only poll the connection further, so neither loses anything.
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke off");
            }
        });
    }
}

async fn refused(error: &std::io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(AFTER_FAILURE).await;
}
