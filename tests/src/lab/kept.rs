//! Labs that were kept: which there are, whose they are, and which one is meant by a name, or by none.
//!
//! A name belongs to the checkout that made the lab, so that two people, or two branches, on one machine do not meet. Nothing here
//! takes a lab away unless it was named or is this checkout's own.

use anyhow::{Result, bail};

use super::host::Host;
use super::run::{self, RunRecord};
use super::{Lab, cache};

/// A lab that was kept, by whom and under which name.
#[derive(Debug)]
pub struct KeptLab {
    /// Its name.
    pub name: String,
    /// True when this checkout made it.
    pub own: bool,
    /// The checkout that made it, for people.
    pub checkout: String,
    /// Its hosts. It stays when dropped.
    pub lab: Lab,
}

impl Lab {
    /// Every lab that was kept on this machine.
    pub fn all_kept() -> Vec<KeptLab> {
        let records = run::all_runs(&cache()).into_iter();
        let kept = records.filter_map(|(run, record)| {
            let RunRecord { id, owner: None, name, checkout, nodes } = record.as_ref()?.clone()
            else {
                return None;
            };
            let own = record.is_some_and(|record| record.is_own());
            let hosts = nodes.into_iter().map(|node| Host::from_record(&run, node)).collect();
            let lab = Self { run, hosts, kept: true };
            // One that was kept before labs had names goes by its number.
            Some(KeptLab {
                name: name.unwrap_or(id),
                own,
                checkout: checkout.display().to_string(),
                lab,
            })
        });
        kept.collect()
    }

    /// The kept lab of this name, this checkout's before others'; without a name the only one, this checkout's before
    /// others'.
    pub fn find_kept(name: Option<&str>) -> Result<KeptLab> {
        let meant = |lab: &KeptLab| name.is_none_or(|name| lab.name == name);
        let (own, others): (Vec<_>, Vec<_>) =
            Self::all_kept().into_iter().filter(meant).partition(|lab| lab.own);
        choose(name, if own.is_empty() { others } else { own })
    }
}

fn choose(name: Option<&str>, mut found: Vec<KeptLab>) -> Result<KeptLab> {
    match (found.pop(), found.as_slice(), name) {
        (Some(lab), [], _) => Ok(lab),
        (Some(last), more, _) => {
            let mut names: Vec<String> =
                more.iter().chain([&last]).map(KeptLab::to_string).collect();
            names.sort();
            bail!("more than one lab is meant; choose with --lab: {}", names.join(", "))
        }
        (None, _, Some(name)) => {
            let mut names: Vec<String> = Lab::all_kept().iter().map(KeptLab::to_string).collect();
            names.sort();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            bail!("no lab called {name} was kept; kept: {names}")
        }
        (None, _, None) => {
            bail!("no lab was kept; `cargo xtask lab up` or `cargo xtask demo --keep` leaves one")
        }
    }
}

impl std::fmt::Display for KeptLab {
    /// Its name, and whose it is if it is not this checkout's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if self.own { Ok(()) } else { write!(f, " (of {})", self.checkout) }
    }
}
