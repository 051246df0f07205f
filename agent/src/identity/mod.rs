//! Who belongs to the cluster: what `muster-identity` decides, carried out on this machine's disk and in the store.

mod authority;
mod directory;
mod error;
mod joining;
mod renewing;
mod upkeep;

pub use authority::ClusterAuthority;
pub use directory::{PkiDirectory, PkiError};
pub use error::MembershipError;
pub use joining::JoiningHost;
pub use renewing::{RenewalError, RenewingHost};
pub use upkeep::{CertificateUpkeep, FindServers, LOOK_INTERVAL, RegistryServers};
