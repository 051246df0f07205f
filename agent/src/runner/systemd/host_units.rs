//! Which unit names the host's own files take, and what of ours would be in their way.
//!
//! Owns the look into systemd's unit directories (systemd.unit(5), "Unit File Load Path"), those that every systemd has and
//! those that this one says it has besides: files, links that are other names of units, templates and the slices that come
//! with them. It never reads a unit file and never writes anything.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use muster_common::container::HostFacts;
use muster_common::unit::{
    Claim, ClaimKind, UnitFile, UnitName, UnitType, is_reserved, list_claims,
};

use crate::runner::install_specifiers;
use crate::stdx::disk::{Disk, DiskEntry};

/// Directories whose files win over ours in `/run/systemd/system`.
const ABOVE: [&str; 7] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/usr/local/etc/systemd/system",
];

/// Directories whose files ours would hide.
const BELOW: [&str; 6] = [
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// A directory changed less than this before it was read may change again within the same tick of its time stamp.
const SETTLED: Duration = Duration::from_secs(2);

/// The names in the host's unit directories. Reads a directory anew only when it has changed.
#[derive(Debug)]
pub(super) struct HostUnits {
    disk: Arc<dyn Disk>,
    above: Vec<UnitDirectory>,
    below: Vec<UnitDirectory>,
    /// The machine, as unit files may ask about it; nothing for one without an id.
    facts: Option<HostFacts>,
}

#[derive(Debug)]
struct UnitDirectory {
    path: PathBuf,
    read: Option<SystemTime>,
    names: HashSet<String>,
}

impl HostUnits {
    pub(super) fn new(disk: Arc<dyn Disk>, facts: Option<HostFacts>) -> Self {
        let (above, below) = (ABOVE.iter().map(PathBuf::from), BELOW.iter().map(PathBuf::from));
        Self { facts, ..Self::in_directories(disk, above, below) }
    }

    fn in_directories(
        disk: Arc<dyn Disk>,
        above: impl Iterator<Item = PathBuf>,
        below: impl Iterator<Item = PathBuf>,
    ) -> Self {
        let directory = |path| UnitDirectory { path, read: None, names: HashSet::new() };
        let (above, below) = (above.map(directory).collect(), below.map(directory).collect());
        Self { disk, above, below, facts: None }
    }

    /// Takes in where systemd says it looks for unit files, in its order, of which `own` is ours: a directory that is not
    /// known yet is above ours or below it.
    pub(super) fn search_also(&mut self, paths: &[String], own: &Path) {
        let Some(place) = paths.iter().position(|path| Path::new(path) == own) else { return };
        for (index, path) in paths.iter().enumerate() {
            let path = PathBuf::from(path);
            let known = path == own || self.above.iter().chain(&self.below).any(|d| d.path == path);
            if !known {
                let directories = if index < place { &mut self.above } else { &mut self.below };
                directories.push(UnitDirectory { path, read: None, names: HashSet::new() });
            }
        }
    }

    /// Looks at the directories that have changed.
    pub(super) fn refresh_names(&mut self) {
        for directory in self.above.iter_mut().chain(&mut self.below) {
            directory.refresh_names(&*self.disk);
        }
    }

    /// True if a file of the host's wins over ours.
    pub(super) fn overrides_ours(&self, unit: &str) -> bool {
        self.above.iter().any(|d| d.names.contains(unit))
    }

    /// True if the host has a file of that name at all.
    pub(super) fn has_file(&self, unit: &str) -> bool {
        self.overrides_ours(unit) || self.below.iter().any(|d| d.names.contains(unit))
    }

    /// The template of the host's that a unit would be an instance of.
    pub(super) fn template_of(&self, unit: &UnitName) -> Option<UnitName> {
        unit.template_name().filter(|template| self.has_file(template.as_str()))
    }

    /// True if a name is the host's own, by a file, a link, a template or because systemd has such a unit in itself.
    fn is_host_name(&self, name: &UnitName) -> bool {
        self.has_file(name.as_str())
            || is_reserved(name)
            || self.template_of(name).is_some()
            || self.instances_of(name).is_some()
    }

    /// The template of the host's whose instances systemd keeps in the slice of that name, which it makes for them when the
    /// first is started (systemd.service(5) and systemd.socket(5), "Implicit Dependencies" and `Slice=` in
    /// systemd.resource-control(5)).
    pub(super) fn instances_of(&self, slice: &UnitName) -> Option<UnitName> {
        if slice.unit_type() != UnitType::Slice {
            return None;
        }
        // A dash within the template's name is written so, since one in a slice's name leads to the next slice.
        let prefix = slice.name_stem().strip_prefix("system-")?.replace("\\x2d", "-");
        let templates = ["service", "socket"].map(|kind| format!("{prefix}@.{kind}").parse().ok());
        templates.into_iter().flatten().find(|template: &UnitName| self.has_file(template.as_str()))
    }

    /// Which name in a file's `[Install]` section is the host's own, in words. `ours` says whether what lies under a name at
    /// our place is nothing, or the unit itself.
    ///
    /// A target is there for others to hook themselves into, and so is a device; a service or a socket of the host's is not:
    /// what it starts with it is for the host to say.
    pub(super) fn find_obstacle(
        &self,
        unit: &UnitName,
        file: &UnitFile,
        ours: &dyn Fn(&UnitName) -> bool,
    ) -> Option<String> {
        let facts =
            |specifier| install_specifiers::specifier_value(self.facts.as_ref()?, specifier);
        list_claims(unit, file, &facts)
            .iter()
            .find_map(|claim| self.stands_against(claim, unit, ours))
    }

    fn stands_against(
        &self,
        claim: &Claim,
        unit: &UnitName,
        ours: &dyn Fn(&UnitName) -> bool,
    ) -> Option<String> {
        let Some(name) = &claim.name else {
            return Some(format!(
                "{claim}: what this stands for cannot be told; write the name out"
            ));
        };
        // What is no name systemd itself does not take, and says so.
        let name: UnitName = name.parse().ok().filter(|name| name != unit)?;
        let hooks = matches!(name.unit_type(), UnitType::Target | UnitType::Device);
        let theirs = match claim.kind {
            ClaimKind::Alias => self.is_host_name(&name) || !ours(&name),
            ClaimKind::StartedBy if hooks => false,
            _ => self.is_host_name(&name),
        };
        let what = match claim.kind {
            ClaimKind::Alias => "would take its place",
            ClaimKind::Also => "would be enabled and disabled with this one",
            _ => "would be made to start this one",
        };
        theirs.then(|| {
            format!(
                "{claim}: this machine has a unit {name} of its own, which {what}; Muster does not touch it: take the \
                 name out, or rename one of them"
            )
        })
    }
}

/// Why a unit is not ours to make in whose place there is a link.
pub(super) fn link_in_place(unit: &UnitName, to: &Path) -> String {
    format!(
        "where the file of {unit} would go, this machine has a link to {}, which Muster does not touch; give the unit another \
         name",
        to.display()
    )
}

/// Why a slice is not ours to make that systemd makes for units of the host's.
pub(super) fn slice_of(template: &UnitName) -> String {
    format!(
        "systemd keeps the instances of {template}, a template of this machine's own, in a slice of that name; give this one \
         another name"
    )
}

/// Why an instance of a template of the host's is not ours to make.
pub(super) fn instance_of(template: &UnitName) -> String {
    format!(
        "this machine has a template {template} of its own, which Muster does not touch, and this would be an instance of \
         it; give it another name"
    )
}

impl UnitDirectory {
    fn refresh_names(&mut self, disk: &dyn Disk) {
        let modified = match disk.look_at(&self.path) {
            Some(DiskEntry::Directory(modified)) => modified,
            // A directory may be a link to one: what is in it is read every time.
            Some(_) => None,
            None => {
                self.names.clear();
                return;
            }
        };
        if modified.is_some() && modified == self.read {
            return;
        }
        self.names = names_in(disk, &self.path);
        self.read = modified.filter(|at| at.elapsed().is_ok_and(|age| age > SETTLED));
    }
}

fn names_in(disk: &dyn Disk, path: &Path) -> HashSet<String> {
    let names = disk.list(path).unwrap_or_default();
    names.into_iter().filter_map(|name| name.into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdx::disk::HostDisk;

    fn in_directories(
        above: impl Iterator<Item = PathBuf>,
        below: impl Iterator<Item = PathBuf>,
    ) -> HostUnits {
        HostUnits::in_directories(Arc::new(HostDisk), above, below)
    }

    #[test]
    fn a_file_above_overrides_and_a_file_below_is_only_there() {
        let (above, below) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(above.path().join("a.service"), "").unwrap();
        std::fs::write(below.path().join("b.service"), "").unwrap();
        let mut host = in_directories(
            [above.path().to_owned(), PathBuf::from("/nonexistent")].into_iter(),
            [below.path().to_owned()].into_iter(),
        );
        host.refresh_names();
        assert_eq!((host.overrides_ours("a.service"), host.has_file("a.service")), (true, true));
        assert_eq!((host.overrides_ours("b.service"), host.has_file("b.service")), (false, true));
        assert_eq!((host.overrides_ours("c.service"), host.has_file("c.service")), (false, false));

        std::fs::write(above.path().join("c.service"), "").unwrap();
        host.refresh_names();
        assert!(
            host.overrides_ours("c.service"),
            "a directory that has just changed is read again"
        );
    }

    /// The obstacle to a file with this `[Install]` section, on a machine that has some units of its own.
    fn find_obstacle(unit: &str, install: &str) -> Option<String> {
        let (above, below) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(above.path().join("admin.service"), "").unwrap();
        for name in ["sshd.service", "ssh.socket", "getty@.service", "graph.target"] {
            std::fs::write(below.path().join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("sshd.service", below.path().join("ssh.service")).unwrap();
        let paths = [above.path().to_owned()].into_iter();
        let mut host = in_directories(paths, [below.path().to_owned()].into_iter());
        host.facts = Some(HostFacts { name: "sshd".to_owned(), ..HostFacts::stand_in() });
        host.refresh_names();
        let file: UnitFile =
            format!("[Service]\nExecStart=a\n[Install]\n{install}").parse().unwrap();
        host.find_obstacle(&unit.parse().unwrap(), &file, &|name| {
            name.as_str() != "strange.service"
        })
    }

    #[test]
    fn no_name_of_the_hosts_is_taken_by_an_install_section() {
        for (unit, install, line, name) in [
            ("a.service", "Alias=sshd.service", 4, "sshd.service"),
            ("a.service", "Alias=b.service ssh.service", 4, "ssh.service"),
            (
                "a.service",
                "WantedBy=multi-user.target\nAlias=b.service\nAlias='admin.service'",
                6,
                "admin.service",
            ),
            ("a.service", "Alias=getty@tty9.service", 4, "getty@tty9.service"),
            ("a@sshd.service", "Alias=%i.service", 4, "sshd.service"),
            ("a.service", "Alias=%H.service", 4, "sshd.service"),
            ("a.service", "Alias=%l.service", 4, "sshd.service"),
            ("a.service", "Alias=systemd-logind.service", 4, "systemd-logind.service"),
            ("a.service", "Alias=strange.service", 4, "strange.service"),
            ("a.service", "Also=ssh.socket", 4, "ssh.socket"),
            ("a.service", "WantedBy=sshd.service", 4, "sshd.service"),
            ("a.service", "RequiredBy=dbus.service", 4, "dbus.service"),
            ("a.service", "UpheldBy=getty@tty1.service", 4, "getty@tty1.service"),
            ("a.slice", "RequiredBy=system.slice", 4, "system.slice"),
            ("a.service", "Alias=sshd.service.wants/a.service", 4, "sshd.service"),
            ("a.service", "Alias=b.service dbus.service.requires/%n", 4, "dbus.service"),
            ("a.slice", "Alias=system-getty.slice", 4, "system-getty.slice"),
        ] {
            let said = find_obstacle(unit, install).unwrap_or_else(|| panic!("{install}"));
            assert!(said.starts_with(&format!("line {line}: [Install] ")), "{said}");
            assert!(said.contains(&format!(" a unit {name} of its own")), "{said}");
        }
        let unknown = find_obstacle("a.service", "Alias=%!.service").unwrap();
        assert!(unknown.contains("cannot be told"), "{unknown}");
    }

    #[test]
    fn what_others_may_hook_into_is_free() {
        for install in [
            "WantedBy=multi-user.target",
            "WantedBy=multi-user.target timers.target\nRequiredBy=graph.target local-fs.target",
            "WantedBy=dev-sda.device",
            "Alias=b.service\nAlso=b.socket\nWantedBy=c.service",
            "Alias=a.service",
            "Alias=sshd.service\nAlias=",
            "DefaultInstance=sshd",
            "WantedBy=no-name",
            "Alias=multi-user.target.wants/a.service",
        ] {
            assert_eq!(find_obstacle("a.service", install), None, "{install}");
        }
    }

    #[test]
    fn an_instance_of_a_template_of_the_hosts_is_known() {
        let below = tempfile::tempdir().unwrap();
        std::fs::write(below.path().join("user@.service"), "").unwrap();
        let paths = [below.path().to_owned()].into_iter();
        let mut host = in_directories(std::iter::empty(), paths);
        host.refresh_names();
        let template = |unit: &str| host.template_of(&unit.parse().unwrap());
        assert_eq!(template("user@4242.service"), Some("user@.service".parse().unwrap()));
        assert_eq!(template("user.service"), None);
        assert_eq!(template("users@1.service"), None);
    }

    #[test]
    fn the_slice_that_comes_with_a_template_of_the_hosts_is_known() {
        let below = tempfile::tempdir().unwrap();
        for template in ["getty@.service", "systemd-fsck@.service", "ssh@.socket", "own@.timer"] {
            std::fs::write(below.path().join(template), "").unwrap();
        }
        let paths = [below.path().to_owned()].into_iter();
        let mut host = in_directories(std::iter::empty(), paths);
        host.refresh_names();
        let of = |slice: &str| host.instances_of(&slice.parse().unwrap()).map(|t| t.to_string());
        assert_eq!(of("system-getty.slice").as_deref(), Some("getty@.service"));
        assert_eq!(of("system-systemd\\x2dfsck.slice").as_deref(), Some("systemd-fsck@.service"));
        assert_eq!(of("system-ssh.slice").as_deref(), Some("ssh@.socket"));
        for other in ["system-web.slice", "system-own.slice", "getty.slice", "system-getty.service"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn directories_that_only_this_systemd_has_are_looked_at() {
        let disk = tempfile::tempdir().unwrap();
        let path = |name: &str| disk.path().join(name);
        for name in ["above", "own", "below"] {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::write(path(name).join(format!("{name}.service")), "").unwrap();
        }
        let mut host = in_directories(std::iter::empty(), std::iter::empty());
        let paths = ["above", "own", "below"].map(|name| path(name).display().to_string());
        host.search_also(&paths, &path("own"));
        host.search_also(&paths, &path("own"));
        host.refresh_names();
        assert_eq!((host.above.len(), host.below.len()), (1, 1));
        assert!(host.overrides_ours("above.service"));
        assert_eq!(
            (host.overrides_ours("below.service"), host.has_file("below.service")),
            (false, true)
        );
        assert!(
            !host.has_file("own.service"),
            "what lies at our place is not for the host to have"
        );
        // One that does not look at our place at all says nothing of what wins over it.
        host.search_also(&["/elsewhere".to_owned()], &path("own"));
        assert_eq!(host.above.len(), 1);
    }
}
