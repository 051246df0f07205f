//! How a program speaks to a Muster daemon.
//!
//! Owns connections, requests and their answers. It never prints and knows no command.

mod endpoint;
mod error;
mod request;
mod sse;

pub use endpoint::{DEFAULT, Door, Endpoint, Endpoints, InvalidEndpoint, Through};
pub use error::ClientError;
pub use request::{Client, Patience, Pieces, escape};
pub use sse::{Decoder, TooLong};
