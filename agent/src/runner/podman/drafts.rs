//! What Podman's generator says of files that somebody submits here, before any machine has them.
//!
//! Owns showing them to the generator of this machine, each with the files that it names, in a place of their own. What it says is advice: the
//! machine that a unit comes to may have another Podman, and its word is the one that counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use muster_common::unit::{UnitFile, UnitName, list_references};

use super::generator::{GeneratorError, GeneratorInput, QuadletGenerator};
use super::units::PodmanUnits;

/// Most files of one request that are looked at: 4 ms each, and somebody waits.
const MOST_FILES: usize = 50;

/// Whoever has the generator look at files.
pub struct QuadletDrafts {
    generator: Arc<dyn QuadletGenerator>,
    scratch: PathBuf,
    number: AtomicU64,
}

impl QuadletDrafts {
    /// With this generator; files lie below `scratch` while it looks at them.
    pub fn new(generator: Arc<dyn QuadletGenerator>, scratch: PathBuf) -> Self {
        Self { generator, scratch, number: AtomicU64::new(0) }
    }

    /// The words of the generator on files, by unit, each for the user; none on those that it takes without a word.
    /// `find_file` knows the files that they may name.
    pub async fn judge_files(
        &self,
        drafts: &BTreeMap<UnitName, Arc<UnitFile>>,
        find_file: &(dyn Fn(&UnitName) -> Option<Arc<UnitFile>> + Sync),
    ) -> BTreeMap<UnitName, Vec<String>> {
        let mut said = BTreeMap::new();
        for (unit, file) in drafts.iter().take(MOST_FILES) {
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            let place = self.scratch.join(format!("draft-{number}"));
            let words = self.judge_file(&place, unit, file, find_file).await;
            let _ = fs::remove_dir_all(&place);
            let hangs = words.as_ref().is_err_and(|error| *error == GeneratorError::Hangs);
            let words = match words {
                Ok(words) => words,
                Err(error) => vec![format!("{error} (asked on this machine)")],
            };
            if !words.is_empty() {
                said.insert(unit.clone(), words);
            }
            if hangs {
                break;
            }
        }
        said
    }

    async fn judge_file(
        &self,
        place: &Path,
        unit: &UnitName,
        file: &Arc<UnitFile>,
        find_file: &(dyn Fn(&UnitName) -> Option<Arc<UnitFile>> + Sync),
    ) -> Result<Vec<String>, GeneratorError> {
        let units = PodmanUnits::in_directory(place.to_owned());
        let failed = |error: io::Error| GeneratorError::Run { problem: error.to_string() };
        units.write_file(unit, file.text()).map_err(failed)?;
        let mut shown = BTreeSet::from([unit.clone()]);
        let mut next = vec![(unit.clone(), Arc::clone(file))];
        while let Some((by, file)) = next.pop() {
            for named in list_references(&file) {
                if !shown.insert(named.unit.clone()) {
                    continue;
                }
                let Some(file) = find_file(&named.unit) else {
                    let whose = if by == *unit { String::new() } else { format!("{by}: ") };
                    // It may come yet, and what the generator says without it says nothing.
                    return Ok(vec![format!(
                        "{whose}line {}: {} names {}, which the cluster does not know; submit it before the start",
                        named.line, named.option, named.unit
                    )]);
                };
                units.write_file(&named.unit, file.text()).map_err(failed)?;
                next.push((named.unit, file));
            }
        }
        let input = GeneratorInput {
            unit: unit.clone(),
            needed: vec![units.source_path(unit)],
            directories: shown.iter().map(|unit| units.unit_directory(unit)).collect(),
        };
        let made = self.generator.translate_files(&input).await?;
        Ok(made
            .warnings
            .into_iter()
            .map(|warning| format!("Podman's generator: {warning}"))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::runner::podman::generator::Translation;

    /// Takes what has no bad line, and says how many files it was shown.
    struct Counting;

    #[async_trait]
    impl QuadletGenerator for Counting {
        async fn translate_files(
            &self,
            input: &GeneratorInput,
        ) -> Result<Translation, GeneratorError> {
            let source = input.needed.first().unwrap();
            if fs::read_to_string(source).unwrap().contains("Bad=") {
                return Err(GeneratorError::Refused { problem: "line 3: bad".to_owned() });
            }
            let warnings = vec![format!("{} shown", input.directories.len())];
            Ok(Translation { services: BTreeMap::new(), warnings })
        }
    }

    #[tokio::test]
    async fn a_draft_is_judged_with_what_it_names() {
        let place = tempfile::tempdir().unwrap();
        let drafts = QuadletDrafts::new(Arc::new(Counting), place.path().to_owned());
        let files = [
            ("a.container", "[Container]\nImage=a\nVolume=d.volume:/d\nPod=p.pod\n"),
            ("b.container", "[Container]\nImage=a\nBad=1\n"),
            ("c.container", "[Container]\nImage=a\nVolume=gone.volume:/d\n"),
        ];
        let file = |text: &str| Arc::new(text.parse::<UnitFile>().unwrap());
        let files = files.map(|(name, text)| (name.parse().unwrap(), file(text))).into();
        let known: BTreeMap<UnitName, Arc<UnitFile>> = [
            ("d.volume".parse().unwrap(), file("[Volume]\nImage=i.image\n")),
            ("i.image".parse().unwrap(), file("[Image]\nImage=i\n")),
            ("p.pod".parse().unwrap(), file("[Pod]\n")),
        ]
        .into();
        let said = drafts.judge_files(&files, &|unit| known.get(unit).cloned()).await;
        let words: Vec<&String> = said.values().flatten().collect();
        assert_eq!(
            words,
            [
                "Podman's generator: 4 shown",
                "Podman's generator: line 3: bad (asked on this machine)",
                "line 3: [Container] Volume names gone.volume, which the cluster does not know; submit it before the start",
            ]
        );
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "it is swept");
    }
}
