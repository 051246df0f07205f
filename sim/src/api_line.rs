//! The line to a daemon's API: a request goes out, and pieces of an answer come back.
//!
//! Owns both ends. At the daemon's it stands where the socket and hyper stand: the router is called in process, and what it does is
//! dropped when whoever asked has hung up. A daemon that is killed breaks its lines.

use std::convert::Infallible;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode};
use futures::StreamExt as _;
use muster_common::machine::Machine;
use muster_runtime::simulated::Node;
use muster_runtime::{sleep, timeout};
use musterd::net::peer::{PeerError, Peers};
use tokio::sync::{mpsc, oneshot};
use tower::ServiceExt as _;

use crate::api_call::{AnswerPiece, ApiCall, ApiRequest};
use crate::plan::shape::Shape;
use crate::wire::{Outbox, Outgoing};

/// The time that a request takes on its way, and an answer: a user is on the machine, or near.
const WAY: Duration = Duration::from_micros(500);

/// An answer that has begun.
#[derive(Debug)]
pub(crate) struct OpenAnswer {
    /// Its status.
    pub(crate) status: u16,
    pieces: mpsc::UnboundedReceiver<AnswerPiece>,
    handled: oneshot::Receiver<Infallible>,
}

/// There is no answer, or no whole one: the line broke, or nothing came in time. Whoever is told so knows besides that nothing is
/// done about the request any more.
#[derive(Debug)]
pub(crate) struct NoAnswer;

/// The line, at the end of whoever asks.
#[derive(Debug, Clone)]
pub(crate) struct ApiLine {
    outbox: Outbox,
}

impl ApiLine {
    /// The end of a line at a node.
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }

    /// Asks, and returns once the answer has begun.
    pub(crate) async fn open_answer(
        &self,
        machine: usize,
        request: ApiRequest,
        patience: Duration,
    ) -> Result<OpenAnswer, NoAnswer> {
        sleep(WAY).await;
        let (sender, mut pieces) = mpsc::unbounded_channel();
        let (sent, handled) = oneshot::channel();
        let call = ApiCall { machine, request, pieces: sender, handled: sent };
        self.outbox.put(Outgoing::Api(call));
        match timeout(patience, pieces.recv()).await {
            Ok(Some(AnswerPiece::Head(status))) => {
                sleep(WAY).await;
                Ok(OpenAnswer { status, pieces, handled })
            }
            _ => Err(OpenAnswer { status: 0, pieces, handled }.hang_up().await),
        }
    }

    /// Asks, and returns the status and the whole body.
    pub(crate) async fn ask_daemon(
        &self,
        machine: usize,
        request: ApiRequest,
        patience: Duration,
    ) -> Result<(u16, Vec<u8>), NoAnswer> {
        let mut answer = self.open_answer(machine, request, patience).await?;
        let mut body = Vec::new();
        loop {
            match timeout(patience, answer.pieces.recv()).await {
                Ok(Some(AnswerPiece::Body(piece))) => body.extend_from_slice(&piece),
                Ok(Some(AnswerPiece::End)) => return Ok((answer.status, body)),
                _ => return Err(answer.hang_up().await),
            }
        }
    }
}

impl OpenAnswer {
    /// The next piece of the body; `None` at its end, and where the line is broken.
    pub(crate) async fn next_piece(&mut self) -> Option<Bytes> {
        match self.pieces.recv().await {
            Some(AnswerPiece::Body(piece)) => Some(piece),
            _ => None,
        }
    }

    /// Hangs up, and returns when nothing is done about the request any more.
    pub(crate) async fn hang_up(self) -> NoAnswer {
        drop(self.pieces);
        let _ = self.handled.await;
        NoAnswer
    }
}

/// Serves a request on a daemon's node.
pub(crate) fn serve_call(node: &Node, router: Router, call: ApiCall) {
    let ApiCall { request, pieces, handled, .. } = call;
    node.spawn(async move {
        let _handled = handled;
        let answer = async {
            let Ok(response) = router.oneshot(request.into_http()).await;
            let (head, body) = response.into_parts();
            let _ = pieces.send(AnswerPiece::Head(head.status.as_u16()));
            let mut body = body.into_data_stream();
            while let Some(piece) = body.next().await {
                let Ok(piece) = piece else { return };
                let _ = pieces.send(AnswerPiece::Body(piece));
            }
            let _ = pieces.send(AnswerPiece::End);
        };
        tokio::select! {
            biased;
            () = pieces.closed() => {}
            () = answer => {}
        }
    });
}

/// A daemon's way to the others.
pub(crate) struct PeerLine {
    line: ApiLine,
}

impl PeerLine {
    /// The end of it at a daemon.
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { line: ApiLine::new(outbox) }
    }
}

#[async_trait]
impl Peers for PeerLine {
    async fn ask_daemon(
        &self,
        machine: &Machine,
        path_and_query: &str,
    ) -> Result<Response<Body>, PeerError> {
        /// As long as one daemon waits for another.
        const PATIENCE: Duration = Duration::from_secs(20);
        let silent = || PeerError::Answer {
            machine: machine.id.to_string(),
            api: machine.api.clone().unwrap_or_default(),
            source: None,
        };
        let number = Shape::machine_number(machine.id.as_str()).ok_or_else(silent)?;
        let request = ApiRequest { is_forwarded: true, ..ApiRequest::get(path_and_query) };
        let answer =
            self.line.open_answer(number, request, PATIENCE).await.map_err(|NoAnswer| silent())?;
        let status = StatusCode::from_u16(answer.status).map_err(|_| silent())?;
        let pieces = futures::stream::unfold(answer, |mut answer| async move {
            let piece = answer.next_piece().await?;
            Some((Ok::<_, Infallible>(piece), answer))
        });
        let mut response = Response::new(Body::from_stream(pieces));
        *response.status_mut() = status;
        Ok(response)
    }
}
