//! Features that no program has.
//!
//! Owns the rule that what switches points in the code on for the simulator stays with the simulator.

use std::process::Command;

use crate::checkout::checkout;

/// The features of the packages from which programs are released, as cargo unites them.
fn features_of(packages: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.args(["tree", "--offline", "--edges", "normal,features"]);
    for package in packages {
        command.args(["--package", package]);
    }
    let output = command.current_dir(checkout()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn programs_have_no_probes() {
    let has_probes = |packages: &[&str]| {
        let features = features_of(packages);
        assert!(features.contains("muster-common"), "this is not the tree of the programs");
        features.contains("muster-common feature \"probes\"")
    };
    assert!(
        !has_probes(&["musterd", "musterctl"]),
        "a released program would have switched-on probes"
    );
    assert!(
        has_probes(&["muster-sim"]),
        "the look is worth nothing: it does not see those of the simulator"
    );
}
