//! Short names of images that Podman and Docker take for different ones.
//!
//! Docker completes a name without a registry to one of docker.io. Podman has a list of well-known short names, which the
//! distributions ship, and some of them stand for images elsewhere.

/// Short names with the image each stands for in the list that Podman is shipped with, where that is not on docker.io. Left
/// out are those of one word that docker.io has no image of: there is nothing to mistake them for.
const ELSEWHERE: [(&str, &str); 39] = [
    ("amazonlinux", "public.ecr.aws/amazonlinux/amazonlinux"),
    ("bci/bci-base", "registry.suse.com/bci/bci-base"),
    ("bci/bci-busybox", "registry.suse.com/bci/bci-busybox"),
    ("bci/bci-micro", "registry.suse.com/bci/bci-micro"),
    ("bci/bci-minimal", "registry.suse.com/bci/bci-minimal"),
    ("centos", "quay.io/centos/centos"),
    ("fedora", "registry.fedoraproject.org/fedora"),
    ("hello-world", "quay.io/podman/hello"),
    ("opensuse/busybox", "registry.opensuse.org/opensuse/busybox"),
    ("opensuse/leap", "registry.opensuse.org/opensuse/leap"),
    ("opensuse/tumbleweed", "registry.opensuse.org/opensuse/tumbleweed"),
    ("opensuse/tumbleweed-dnf", "registry.opensuse.org/opensuse/tumbleweed-dnf"),
    ("opensuse/tumbleweed-microdnf", "registry.opensuse.org/opensuse/tumbleweed-microdnf"),
    ("oraclelinux", "container-registry.oracle.com/os/oraclelinux"),
    ("qubip/pq-container", "quay.io/qubip/pq-container"),
    ("rhel7/rhel", "registry.access.redhat.com/rhel7/rhel"),
    ("rhel7/rhel-atomic", "registry.access.redhat.com/rhel7/rhel7/rhel-atomic"),
    ("rockylinux", "quay.io/rockylinux/rockylinux"),
    ("suse/sle15", "registry.suse.com/suse/sle15"),
    ("suse/sles12sp3", "registry.suse.com/suse/sles12sp3"),
    ("suse/sles12sp4", "registry.suse.com/suse/sles12sp4"),
    ("suse/sles12sp5", "registry.suse.com/suse/sles12sp5"),
    ("ubi7/ubi", "registry.access.redhat.com/ubi7/ubi"),
    ("ubi7/ubi-init", "registry.access.redhat.com/ubi7-init"),
    ("ubi7/ubi-minimal", "registry.access.redhat.com/ubi7-minimal"),
    ("ubi8/buildah", "registry.access.redhat.com/ubi8/buildah"),
    ("ubi8/podman", "registry.access.redhat.com/ubi8/podman"),
    ("ubi8/skopeo", "registry.access.redhat.com/ubi8/skopeo"),
    ("ubi8/ubi", "registry.access.redhat.com/ubi8/ubi"),
    ("ubi8/ubi-init", "registry.access.redhat.com/ubi8-init"),
    ("ubi8/ubi-micro", "registry.access.redhat.com/ubi8-micro"),
    ("ubi8/ubi-minimal", "registry.access.redhat.com/ubi8-minimal"),
    ("ubi9/buildah", "registry.access.redhat.com/ubi9/buildah"),
    ("ubi9/podman", "registry.access.redhat.com/ubi9/podman"),
    ("ubi9/skopeo", "registry.access.redhat.com/ubi9/skopeo"),
    ("ubi9/ubi", "registry.access.redhat.com/ubi9/ubi"),
    ("ubi9/ubi-init", "registry.access.redhat.com/ubi9-init"),
    ("ubi9/ubi-micro", "registry.access.redhat.com/ubi9-micro"),
    ("ubi9/ubi-minimal", "registry.access.redhat.com/ubi9-minimal"),
];

/// The image that a short name stands for, where Docker would take another image.
pub(super) fn podman_full_name(repository: &str) -> Option<&'static str> {
    let at = ELSEWHERE.binary_search_by_key(&repository, |(short, _)| *short).ok()?;
    ELSEWHERE.get(at).map(|(_, full)| *full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_of_other_registries() {
        assert!(ELSEWHERE.is_sorted_by(|a, b| a.0 < b.0));
        assert!(ELSEWHERE.iter().all(|(_, full)| !full.starts_with("docker.io/")));
        assert_eq!(podman_full_name("fedora"), Some("registry.fedoraproject.org/fedora"));
        assert_eq!(podman_full_name("nginx"), None);
    }
}
