//! The facts that an `[Install]` section may ask about this machine.
//!
//! Owns the specifiers that depend on the machine (systemd.unit(5), "Specifiers").

use muster_common::container::HostFacts;

/// The value of a specifier; `None` for a letter that is none there.
pub(super) fn specifier_value(facts: &HostFacts, specifier: char) -> Option<String> {
    let release = &facts.release;
    Some(match specifier {
        'a' => facts.architecture.clone(),
        'b' => facts.boot_id.clone(),
        'H' => facts.name.clone(),
        'l' => facts.name.split('.').next().unwrap_or_default().to_owned(),
        'm' => facts.machine_id.clone(),
        'v' => facts.kernel.clone(),
        // System units are enabled for root.
        'u' | 'g' => "root".to_owned(),
        'U' | 'G' => "0".to_owned(),
        'A' => release.image_version.clone(),
        'B' => release.build.clone(),
        'M' => release.image.clone(),
        'o' => release.id.clone(),
        'w' => release.version.clone(),
        'W' => release.variant.clone(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_have_values_where_systemd_has_them() {
        let facts = HostFacts { name: "n1.example".to_owned(), ..HostFacts::stand_in() };
        let value = |letter| specifier_value(&facts, letter);
        assert_eq!(value('H').as_deref(), Some("n1.example"));
        assert_eq!(value('l').as_deref(), Some("n1"));
        assert_eq!(value('m'), Some(facts.machine_id.clone()));
        assert_eq!((value('u').as_deref(), value('U').as_deref()), (Some("root"), Some("0")));
        assert_eq!((value('t'), value('?')), (None, None));
    }
}
