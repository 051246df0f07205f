//! Where a container's output goes.
//!
//! Owns the choice of the log driver where the file leaves it open, and the marks by which the journal's lines are found
//! again; see docs/decisions/0010.

use super::body::LogConfig;
use super::translate::{LABEL_CLUSTER, LABEL_UNIT};

/// Docker's driver that writes into systemd's journal.
pub const JOURNALD: &str = "journald";

/// Docker's driver where nobody has said anything.
const NOBODYS_CHOICE: &str = "json-file";

/// The log drivers that an engine and its machine have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logging {
    /// The engine's own default driver; empty when it does not say.
    pub default: String,
    /// The drivers it has.
    pub drivers: Vec<String>,
    /// True when the machine runs systemd's journal.
    pub journal: bool,
}

/// The log driver of a container, from what its file says. `None` leaves it to the engine.
///
/// A container is replaced whenever it starts, and what Docker keeps of its output goes with it; the journal stays. So it is
/// chosen where neither the file nor the engine's owner has chosen. What goes there is marked with the unit's name.
pub fn choose_log_config(given: Option<LogConfig>, engine: &Logging) -> Option<LogConfig> {
    let mut config = given.unwrap_or_default();
    let open = config.kind.is_empty() && config.config.is_empty();
    let journal = engine.journal && engine.drivers.iter().any(|driver| driver == JOURNALD);
    if open && journal && engine.default == NOBODYS_CHOICE {
        JOURNALD.clone_into(&mut config.kind);
    }
    let driver = if config.kind.is_empty() { &engine.default } else { &config.kind };
    // Podman's service speaks Docker's language and names no default; its journal driver marks lines by itself.
    if driver == JOURNALD {
        let labels = config.config.entry("labels".to_owned()).or_default();
        for label in [LABEL_UNIT, LABEL_CLUSTER] {
            if !labels.split(',').any(|known| known == label) {
                if !labels.is_empty() {
                    labels.push(',');
                }
                labels.push_str(label);
            }
        }
        config.config.entry("tag".to_owned()).or_insert_with(|| "{{.Name}}".to_owned());
        JOURNALD.clone_into(&mut config.kind);
    }
    (config != LogConfig::default()).then_some(config)
}

/// The field under which the journal has one of our labels: in capitals, with an underscore for what is no letter or digit.
pub fn journal_field(label: &str) -> String {
    let field = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    label.chars().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(default: &str) -> Logging {
        let drivers = ["journald", "json-file", "local"].map(str::to_owned).to_vec();
        Logging { default: default.to_owned(), drivers, journal: true }
    }

    fn config(kind: &str, options: &[(&str, &str)]) -> LogConfig {
        let config = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        LogConfig { kind: kind.to_owned(), config }
    }

    fn marked() -> LogConfig {
        config("journald", &[("labels", "muster.unit,muster.cluster"), ("tag", "{{.Name}}")])
    }

    #[test]
    fn the_journal_is_chosen_where_nobody_else_has_chosen() {
        assert_eq!(choose_log_config(None, &engine("json-file")), Some(marked()));
        // The engine's owner wants something else, or the journal all the same.
        assert_eq!(choose_log_config(None, &engine("local")), None);
        assert_eq!(choose_log_config(None, &engine("fluentd")), None);
        assert_eq!(choose_log_config(None, &engine("")), None);
        assert_eq!(choose_log_config(None, &engine("journald")), Some(marked()));
        // It cannot be had.
        let silent = Logging { journal: false, ..engine("json-file") };
        assert_eq!(choose_log_config(None, &silent), None);
        let without = Logging { drivers: vec!["json-file".to_owned()], ..engine("json-file") };
        assert_eq!(choose_log_config(None, &without), None);
    }

    #[test]
    fn what_the_file_says_is_done() {
        let given = config("json-file", &[("max-size", "1m")]);
        assert_eq!(choose_log_config(Some(given.clone()), &engine("json-file")), Some(given));
        // Options without a driver are meant for the engine's own.
        let options = config("", &[("max-size", "1m")]);
        assert_eq!(choose_log_config(Some(options.clone()), &engine("json-file")), Some(options));
        let journal = config("journald", &[("tag", "web"), ("labels", "role,muster.unit")]);
        assert_eq!(
            choose_log_config(Some(journal), &engine("json-file")),
            Some(config(
                "journald",
                &[("labels", "role,muster.unit,muster.cluster"), ("tag", "web")]
            ))
        );
    }

    #[test]
    fn the_journal_has_labels_in_capitals() {
        assert_eq!(journal_field(LABEL_UNIT), "MUSTER_UNIT");
    }
}
