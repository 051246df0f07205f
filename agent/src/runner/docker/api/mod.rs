//! The engine's API as it is used here: the connection, and the list of containers.

pub(crate) mod containers;
pub(crate) mod docker_client;
pub(crate) mod engine;
pub(crate) mod list;
pub(crate) mod tally;
