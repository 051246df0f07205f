//! How a program speaks to a Muster daemon.
//!
//! Owns connections, requests and their answers. It never prints and knows no command.

mod client;
mod endpoint;
mod error;
mod sse;

pub use client::{Client, Patience, Pieces, escape};
pub use endpoint::{DEFAULT, Door, Endpoint, Endpoints, InvalidEndpoint, Through};
pub use error::ClientError;
pub use sse::{Decoder, TooLong};
