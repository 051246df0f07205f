//! The identity that a cluster without one gets.
//!
//! Owns how it follows from a seed. It writes nothing.

use muster_common::cluster_id::ClusterId;
use muster_common::seed::Seed;

/// The identity that follows from a seed. It is as hard to guess as the seed, which is enough: it tells clusters apart and lets
/// nobody in.
pub(super) fn propose_identity(seed: Seed) -> ClusterId {
    let numbers = seed.for_purpose("identity of a cluster").random_sequence();
    ClusterId::from_number(u128::from(numbers.next()) << 64 | u128::from(numbers.next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_propose_identities_of_their_own() {
        assert_eq!(propose_identity(Seed(1)), propose_identity(Seed(1)));
        assert_ne!(propose_identity(Seed(1)), propose_identity(Seed(2)));
    }
}
