//! The client of a Muster daemon: `musterctl`, one daemon to another, and programs of anybody.
//!
//! Owns connections, requests and answers, server-sent events, and the following of a stream across its breaks. It never
//! prints, never decides what an answer means, and never repeats a request by itself: whoever asks knows whether asking
//! again is right. What goes over the wire is [`muster_common::api`].
//!
//! # Asking
//!
//! A [`Client`] asks the first of its [`Route`]s that leads to a daemon: a unix socket or TCP. Each request has a
//! connection of its own, a limit of time and a limit of size ([`Limits`]). A daemon that says no is a
//! [`ClientError::Refused`] with its status and its words; a connection that cannot be made, breaks or falls silent is
//! another variant ([`ClientError::is_connection_failure`], [`ClientError::is_transient`]).
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = format!("http://{}", server.local_addr()?);
//! # std::thread::spawn(move || -> std::io::Result<()> {
//! #     use std::io::{BufRead as _, Write as _};
//! #     let (mut stream, _) = server.accept()?;
//! #     let request = std::io::BufReader::new(stream.try_clone()?).lines();
//! #     request.map_while(Result::ok).find(String::is_empty);
//! #     let body = r#"{"machines":[],"leader":null}"#;
//! #     write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
//! # });
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use muster_client::{Client, Endpoint, Limits};
//! use muster_common::api::v1::Machines;
//!
//! // Such as "unix:///run/muster/muster.sock" or "http://10.0.0.1:7117".
//! let endpoint: Endpoint = address.parse()?;
//! let client = Client::new([endpoint.into()], Limits::default());
//! let machines: Machines = client.get("/v1/machines").await?;
//! assert!(machines.leader.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })
//! # }
//! ```
//!
//! # Following
//!
//! A [`Follower`] reads a stream of events and takes it up again when it breaks off or falls silent, after a pause that
//! grows ([`Backoff`]). It asks for the request anew each time ([`ResumableRequest`]), so that a follower goes on where it was.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = format!("http://{}", server.local_addr()?);
//! # std::thread::spawn(move || -> std::io::Result<()> {
//! #     use std::io::{BufRead as _, Write as _};
//! #     // The first stream breaks off at once.
//! #     for body in ["", "data: {\"event\":\"placed\"}\n\n"] {
//! #         let (mut stream, _) = server.accept()?;
//! #         let request = std::io::BufReader::new(stream.try_clone()?).lines();
//! #         request.map_while(Result::ok).find(String::is_empty);
//! #         write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{body}")?;
//! #     }
//! #     Ok(())
//! # });
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use muster_client::{ApiRequest, Backoff, Client, Endpoint, Followed, Follower, Limits};
//! use muster_common::api::journal::JournalEvent;
//!
//! let endpoint: Endpoint = address.parse()?;
//! let client = Client::new([endpoint.into()], Limits::default());
//! let seed = 7;
//! let mut follower = Follower::new(client, Backoff::new(seed));
//! let request = ApiRequest::get("/v1/units/web.service/journal/follow");
//! 'stream: loop {
//!     // An error ends it: a refusal, or a daemon that was away for longer than the request allows.
//!     match follower.next_step(&request).await? {
//!         Followed::Opened => {}
//!         Followed::Events(events) => {
//!             for data in events {
//!                 if let Ok(JournalEvent::Placed) = serde_json::from_str(&data) {
//!                     break 'stream;
//!                 }
//!             }
//!         }
//!         Followed::Lost { cause, .. } => eprintln!("asking again: {cause}"),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })
//! # }
//! ```
//!
//! # What is absent
//!
//! TLS has its place in [`Connect`], as a connector of its own for an endpoint of its own; until it is there,
//! `https://` is refused by name. There is no pool of connections, no redirect and no retry of a request.

mod answer;
mod backoff;
mod client;
mod connect;
mod endpoint;
mod error;
mod follow;
mod limits;
mod liveness;
mod observer;
mod request;
mod sse;

pub use answer::{Answer, BodyStream};
pub use backoff::Backoff;
pub use client::Client;
pub use connect::{ByteStream, Connect, Connecting, Route, SocketConnector, TunnelSocket};
pub use endpoint::{DEFAULT_ENDPOINT, Endpoint, Endpoints, InvalidEndpoint};
pub use error::{ClientError, Operation};
pub use follow::{Followed, Follower, ResumableRequest};
pub use limits::Limits;
pub use observer::RequestObserver;
pub use request::{ApiRequest, escape_segment};
pub use sse::{EventDecoder, EventTooLong};

pub use http::{HeaderName, HeaderValue, Method, StatusCode};
