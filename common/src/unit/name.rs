//! Unit names, by systemd's rules.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::machine::RunnerKind;
use crate::text::quote_text;

/// Longest unit name systemd takes, in bytes: its `UNIT_NAME_MAX` of 256 counts the final NUL. No file name on Linux
/// can be longer either.
const MAX_NAME_BYTES: usize = 255;

/// A valid unit name: `prefix.type`, `prefix@.type` (a template) or `prefix@instance.type`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(Arc<str>);

/// The type of a unit, which is the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the suffix of its own name")]
pub enum UnitType {
    Artifact,
    Automount,
    Build,
    Container,
    Device,
    Image,
    Kube,
    Mount,
    Network,
    Path,
    Pod,
    Scope,
    Service,
    Slice,
    Socket,
    Swap,
    Target,
    Timer,
    Volume,
}

/// A string that is not a unit name, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not a unit name: {problem}", quote_text(.name))]
pub struct InvalidUnitName {
    /// The text that was given.
    pub name: String,
    /// The problem with it.
    pub problem: String,
}

impl UnitType {
    /// Every type, in alphabetical order.
    pub const ALL: [Self; 19] = [
        Self::Artifact,
        Self::Automount,
        Self::Build,
        Self::Container,
        Self::Device,
        Self::Image,
        Self::Kube,
        Self::Mount,
        Self::Network,
        Self::Path,
        Self::Pod,
        Self::Scope,
        Self::Service,
        Self::Slice,
        Self::Socket,
        Self::Swap,
        Self::Target,
        Self::Timer,
        Self::Volume,
    ];

    /// The suffix, without its dot.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Artifact => "artifact",
            Self::Automount => "automount",
            Self::Build => "build",
            Self::Container => "container",
            Self::Device => "device",
            Self::Image => "image",
            Self::Kube => "kube",
            Self::Mount => "mount",
            Self::Network => "network",
            Self::Path => "path",
            Self::Pod => "pod",
            Self::Scope => "scope",
            Self::Service => "service",
            Self::Slice => "slice",
            Self::Socket => "socket",
            Self::Swap => "swap",
            Self::Target => "target",
            Self::Timer => "timer",
            Self::Volume => "volume",
        }
    }

    /// The type a suffix without its dot stands for.
    fn from_suffix(suffix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == suffix)
    }

    /// True when names of this type may have an `@`.
    pub fn has_templates(self) -> bool {
        self.is_quadlet()
            || matches!(
                self,
                Self::Path | Self::Service | Self::Socket | Self::Target | Self::Timer
            )
    }

    /// True when a container engine runs units of this type, from files in the syntax of Podman's Quadlet, and not systemd.
    pub fn is_quadlet(self) -> bool {
        matches!(self, Self::Container | Self::Network | Self::Volume) || self.needs_podman()
    }

    /// True when only Podman runs units of this type.
    pub fn needs_podman(self) -> bool {
        matches!(self, Self::Artifact | Self::Build | Self::Image | Self::Kube | Self::Pod)
    }

    /// The section that a file of Quadlet's of this type has to itself, and what Podman puts behind the name of its service.
    pub(super) fn quadlet_parts(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::Artifact => ("Artifact", "-artifact"),
            Self::Build => ("Build", "-build"),
            Self::Container => ("Container", ""),
            Self::Image => ("Image", "-image"),
            Self::Kube => ("Kube", ""),
            Self::Network => ("Network", "-network"),
            Self::Pod => ("Pod", "-pod"),
            Self::Volume => ("Volume", "-volume"),
            _ => return None,
        })
    }

    /// True when units of this type are started for their own sake, whoever runs them. With Docker a volume or a network is made on a
    /// machine because a container there names it; by itself it has nowhere to be.
    pub fn starts_by_itself(self) -> bool {
        !matches!(self, Self::Network | Self::Volume)
    }
}

impl UnitName {
    /// The name a user means on a command line: directories are stripped, and what ends in no known type is a service.
    pub fn from_argument(argument: &str) -> Result<Self, InvalidUnitName> {
        let name = argument.rsplit_once('/').map_or(argument, |(_, name)| name);
        if name.is_empty() {
            return Err(InvalidUnitName {
                name: argument.to_owned(),
                problem: "it names no unit".to_owned(),
            });
        }
        let typed = name
            .rsplit_once('.')
            .is_some_and(|(_, suffix)| UnitType::from_suffix(suffix).is_some());
        if typed { name.parse() } else { format!("{name}.service").parse() }
    }

    /// The instance of this template that goes by a name of its own: `web@.service` and `1` make `web@1.service`.
    pub fn with_instance(&self, instance: &str) -> Result<Self, InvalidUnitName> {
        let invalid =
            |problem: &str| InvalidUnitName { name: self.to_string(), problem: problem.to_owned() };
        if !self.is_template() {
            return Err(invalid("it is not a template"));
        }
        if instance.is_empty() {
            return Err(invalid("an instance needs a name"));
        }
        format!("{}@{instance}.{}", self.name_prefix(), self.unit_type().as_str()).parse()
    }

    /// An instance made up, for reading a file that belongs to no particular unit.
    pub(crate) fn stand_in(unit_type: UnitType) -> Self {
        Self(format!("check@INSTANCE.{}", unit_type.as_str()).into())
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The type.
    pub fn unit_type(&self) -> UnitType {
        let suffix = self.0.rsplit_once('.').map_or("", |(_, suffix)| suffix);
        // A valid name ends in a known type, so the fallback is never taken.
        UnitType::from_suffix(suffix).unwrap_or(UnitType::Service)
    }

    /// The kind of runner that runs a unit of this name.
    pub fn runner_kind(&self) -> RunnerKind {
        match self.unit_type() {
            unit_type if unit_type.needs_podman() => RunnerKind::Podman,
            unit_type if unit_type.is_quadlet() => RunnerKind::Docker,
            _ => RunnerKind::Systemd,
        }
    }

    /// The service that Podman's Quadlet makes of a file of this name that says nothing else; `None` of other units.
    pub fn quadlet_service(&self) -> Option<Self> {
        let (_, suffix) = self.unit_type().quadlet_parts()?;
        format!("{}{suffix}.service", self.name_stem()).parse().ok()
    }

    /// The name without `.type`: the `%N` of systemd.unit(5).
    pub fn name_stem(&self) -> &str {
        self.0.rsplit_once('.').map_or(&self.0, |(stem, _)| stem)
    }

    /// The part before the `@`, or the stem: the `%p`.
    pub fn name_prefix(&self) -> &str {
        let stem = self.name_stem();
        stem.split_once('@').map_or(stem, |(prefix, _)| prefix)
    }

    /// The part between the `@` and the type: the `%i`. Empty for a template; `None` where there is no `@`.
    pub fn instance_name(&self) -> Option<&str> {
        self.name_stem().split_once('@').map(|(_, instance)| instance)
    }

    /// True when this is a template (`x@.type`).
    pub fn is_template(&self) -> bool {
        self.instance_name() == Some("")
    }

    /// The template this is an instance of.
    pub fn template_name(&self) -> Option<Self> {
        match self.instance_name() {
            None | Some("") => None,
            Some(_) => {
                Some(Self(format!("{}@.{}", self.name_prefix(), self.unit_type().as_str()).into()))
            }
        }
    }
}

/// A name is ordered and hashed as its text, so a map by name can be asked for a range of texts.
impl Borrow<str> for UnitName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnitName {
    type Err = InvalidUnitName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let invalid =
            |problem: &str| InvalidUnitName { name: name.to_owned(), problem: problem.to_owned() };
        if name.len() > MAX_NAME_BYTES {
            return Err(invalid("it is longer than 255 bytes"));
        }
        let Some((stem, suffix)) = name.rsplit_once('.') else {
            return Err(invalid("it has no type such as .service"));
        };
        let Some(kind) = UnitType::from_suffix(suffix) else {
            return Err(invalid(&format!(".{suffix} is not a unit type")));
        };
        if stem.is_empty() || stem.starts_with('@') {
            return Err(invalid("nothing stands before its @ or its type"));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
        if let Some(c) = stem.chars().find(|c| !u8::try_from(*c).is_ok_and(allowed)) {
            return Err(invalid(&format!("it contains {c:?}")));
        }
        if stem.contains('@') && !kind.has_templates() {
            return Err(invalid(&format!("a {suffix} unit cannot be a template or an instance")));
        }
        Ok(Self(name.into()))
    }
}

impl TryFrom<String> for UnitName {
    type Error = InvalidUnitName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> UnitName {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn names_fall_into_the_parts_systemd_sees() {
        // name, %N, %p, %i, template
        let cases = [
            ("foo.service", "foo", "foo", None, None),
            ("foo@.service", "foo@", "foo", Some(""), None),
            ("foo@bar.service", "foo@bar", "foo", Some("bar"), Some("foo@.service")),
            ("foo@bar@baz.service", "foo@bar@baz", "foo", Some("bar@baz"), Some("foo@.service")),
            ("foo.1@2.socket", "foo.1@2", "foo.1", Some("2"), Some("foo.1@.socket")),
            ("a.b.timer", "a.b", "a.b", None, None),
            (
                "dev-disk-by\\x2dlabel.swap",
                "dev-disk-by\\x2dlabel",
                "dev-disk-by\\x2dlabel",
                None,
                None,
            ),
            ("-.mount", "-", "-", None, None),
            ("app@1.container", "app@1", "app", Some("1"), Some("app@.container")),
            ("data@1.volume", "data@1", "data", Some("1"), Some("data@.volume")),
            ("front.network", "front", "front", None, None),
            ("shop@1.pod", "shop@1", "shop", Some("1"), Some("shop@.pod")),
        ];
        for (text, stem, prefix, instance, template) in cases {
            let name = name(text);
            assert_eq!(name.as_str(), text);
            assert_eq!(name.name_stem(), stem, "{text}");
            assert_eq!(name.name_prefix(), prefix, "{text}");
            assert_eq!(name.instance_name(), instance, "{text}");
            assert_eq!(name.is_template(), instance == Some(""), "{text}");
            assert_eq!(name.template_name(), template.map(self::name), "{text}");
        }
    }

    #[test]
    fn what_systemd_would_not_take_is_refused() {
        let long = format!("{}.service", "x".repeat(248));
        let cases = [
            ("", "\"\" is not a unit name: it has no type such as .service"),
            ("foo", "\"foo\" is not a unit name: it has no type such as .service"),
            ("foo.", "\"foo.\" is not a unit name: . is not a unit type"),
            ("foo.exe", "\"foo.exe\" is not a unit name: .exe is not a unit type"),
            ("foo.Service", "\"foo.Service\" is not a unit name: .Service is not a unit type"),
            (
                ".service",
                "\".service\" is not a unit name: nothing stands before its @ or its type",
            ),
            (
                "@.service",
                "\"@.service\" is not a unit name: nothing stands before its @ or its type",
            ),
            (
                "@1.service",
                "\"@1.service\" is not a unit name: nothing stands before its @ or its type",
            ),
            ("a b.service", "\"a b.service\" is not a unit name: it contains ' '"),
            ("a/b.service", "\"a/b.service\" is not a unit name: it contains '/'"),
            ("a%i.service", "\"a%i.service\" is not a unit name: it contains '%'"),
            ("é.service", "\"é.service\" is not a unit name: it contains 'é'"),
            ("a\n.service", "\"a\\n.service\" is not a unit name: it contains '\\n'"),
            (
                "a@1.mount",
                "\"a@1.mount\" is not a unit name: a mount unit cannot be a template or an instance",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<UnitName>().unwrap_err().to_string(), expected);
        }
        assert_eq!(long.parse::<UnitName>().unwrap_err().problem, "it is longer than 255 bytes");
        assert_eq!(
            long.replacen('x', "", 1).parse::<UnitName>().map(|n| n.as_str().len()),
            Ok(255)
        );
    }

    #[test]
    fn each_kind_of_file_has_a_service_of_its_own() {
        for (unit, service) in [
            ("a.artifact", "a-artifact.service"),
            ("a.build", "a-build.service"),
            ("a@1.container", "a@1.service"),
            ("a.image", "a-image.service"),
            ("a.kube", "a.service"),
            ("a.network", "a-network.service"),
            ("a.pod", "a-pod.service"),
            ("a@1.volume", "a@1-volume.service"),
        ] {
            assert_eq!(name(unit).quadlet_service(), Some(name(service)));
        }
        assert_eq!(name("a.service").quadlet_service(), None);
    }

    #[test]
    fn an_argument_may_be_a_path_or_lack_its_type() {
        let cases = [
            ("web", "web.service"),
            ("web@1", "web@1.service"),
            ("web.timer", "web.timer"),
            ("web.prod", "web.prod.service"),
            ("./units/web@.service", "web@.service"),
            ("/etc/units/web", "web.service"),
            ("a.service/b", "b.service"),
        ];
        for (argument, expected) in cases {
            assert_eq!(UnitName::from_argument(argument), Ok(name(expected)));
        }
        for argument in ["", "units/", "a b", "@1", "x@1.slice"] {
            assert!(UnitName::from_argument(argument).is_err(), "{argument}");
        }
    }

    #[test]
    fn a_template_makes_instances() {
        let template = name("web@.service");
        assert_eq!(template.with_instance("1"), Ok(name("web@1.service")));
        assert!(template.with_instance("").is_err());
        assert!(template.with_instance("a b").is_err());
        assert!(name("web.service").with_instance("1").is_err());
        assert!(name("web@1.service").with_instance("2").is_err());
    }

    #[test]
    fn records_hold_names_as_strings_and_no_others() {
        let web = name("web.service");
        assert_eq!(serde_json::to_string(&web).unwrap(), "\"web.service\"");
        assert_eq!(serde_json::from_str::<UnitName>("\"web.service\"").unwrap(), web);
        assert!(serde_json::from_str::<UnitName>("\"../web.service\"").is_err());
    }

    proptest! {
        #[test]
        fn an_instance_leads_back_to_its_template(
            prefix in "[a-zA-Z0-9:_.\\\\-]{1,20}", instance in "[a-zA-Z0-9:_.\\\\@-]{1,20}"
        ) {
            let template = name(&format!("{prefix}@.service"));
            let unit = template.with_instance(&instance).unwrap();
            prop_assert_eq!(unit.instance_name(), Some(instance.as_str()));
            prop_assert_eq!(unit.template_name(), Some(template));
        }

        #[test]
        fn any_text_is_a_name_or_refused(text in "\\PC{0,20}") {
            if let Ok(name) = text.parse::<UnitName>() {
                prop_assert_eq!(name.as_str(), &text);
                prop_assert!(!text.contains('/'));
            }
            let _ = UnitName::from_argument(&text);
        }
    }
}
