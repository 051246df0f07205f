//! What must be true of a whole cluster.
//!
//! Owns the rules that hold across records, machines and what runs on them, each with a word for its violation. It asks nobody
//! and mends nothing: a picture of a cluster comes in, violations go out as data.
