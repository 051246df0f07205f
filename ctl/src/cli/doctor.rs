//! Flags of `doctor`.

use std::time::Duration;

use clap::Args;

use super::values::parse_duration;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[arg(
        help = "How long something has to last that may pass by itself, such as 30, 500ms or 1m; 0: one look is enough",
        long,
        value_name = "DURATION",
        default_value = "10s",
        value_parser = parse_duration
    )]
    pub(crate) wait: Duration,

    /// The same as --output json
    #[arg(long)]
    pub(crate) json: bool,
}
