//! Certificates, from the authority to whoever looks at them: who is believed, when, and what is said where somebody is not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may fail"
)]

use muster_common::cluster_id::ClusterId;
use muster_common::pki::{Digest, HostRole, KeyHash};
use muster_identity::{
    AccessRefusal, Authority, AuthorityCertificate, AuthorityError, CertificateAge, CertifiedName,
    ChainError, CredentialProblem, HostCertificate, HostCredentials, PeerSide, PkiFile, PrivateKey,
    TrustBundle, Validity, authorize_host, draw_serial, make_signing_request, read_signing_request,
    renewal_due, verify_host_chain, verify_pinned_chain,
};
use rustls_pki_types::CertificateDer;

const NOW: u64 = 1_800_000_000;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const CLUSTER: ClusterId = ClusterId::from_number(7);
const OTHER: ClusterId = ClusterId::from_number(8);

fn authority(cluster: ClusterId) -> Authority {
    let key = PrivateKey::generate_key().unwrap();
    Authority::create(cluster, 1, key, NOW, draw_serial().unwrap()).unwrap()
}

fn named(machine: &str, cluster: ClusterId) -> CertifiedName {
    CertifiedName::of_machine(&machine.parse().unwrap(), cluster).unwrap()
}

/// A chain as a host shows it, and the host's key.
fn host(
    authority: &Authority,
    machine: &str,
    role: HostRole,
    now: u64,
) -> (Vec<CertificateDer<'static>>, PrivateKey) {
    let key = PrivateKey::generate_key().unwrap();
    let request = read_signing_request(&make_signing_request(&key).unwrap()).unwrap();
    let name = named(machine, authority.own_certificate().cluster);
    let serial = draw_serial().unwrap();
    let issued = authority.issue_certificate(&name, role, &request, Validity::of_host(now), serial);
    (vec![issued.unwrap(), authority.own_certificate().as_der().clone()], key)
}

fn bundle(authorities: &[&Authority]) -> TrustBundle {
    TrustBundle::new(
        authorities.iter().map(|authority| authority.own_certificate().clone()).collect(),
    )
}

#[test]
fn a_host_is_known_by_its_authority_on_either_side_of_a_connection() {
    let ours = authority(CLUSTER);
    let (chain, key) = host(&ours, "m1", HostRole::Agent, NOW);
    for side in [PeerSide::Server, PeerSide::Client] {
        let found = verify_host_chain(&chain, &bundle(&[&ours]), side, NOW).unwrap();
        assert_eq!((&found.name, found.role), (&named("m1", CLUSTER), HostRole::Agent));
        assert_eq!(found.key, key.hash());
    }
    // The authority itself need not be shown to whoever has it.
    verify_host_chain(&chain[..1], &bundle(&[&ours]), PeerSide::Client, NOW).unwrap();
    // An authority is no host.
    let shown = &chain[1..];
    let refused = verify_host_chain(shown, &bundle(&[&ours]), PeerSide::Client, NOW).unwrap_err();
    assert!(matches!(refused, ChainError::Certificate(_)), "{refused}");
    assert_eq!(
        verify_host_chain(&[], &bundle(&[&ours]), PeerSide::Client, NOW),
        Err(ChainError::Empty)
    );
}

#[test]
fn nobody_else_vouches_for_a_host() {
    let (ours, theirs) = (authority(CLUSTER), authority(OTHER));
    // Another authority that calls itself ours.
    let false_one = authority(CLUSTER);
    for other in [&theirs, &false_one] {
        let (chain, _) = host(other, "m1", HostRole::Server, NOW);
        let refused =
            verify_host_chain(&chain, &bundle(&[&ours]), PeerSide::Server, NOW).unwrap_err();
        assert!(matches!(refused, ChainError::NotTrusted(_)), "{refused}");
    }
    // Nor does an authority that is believed vouch for another cluster's: it has no say there.
    let key = PrivateKey::generate_key().unwrap();
    let request = read_signing_request(&make_signing_request(&key).unwrap()).unwrap();
    let serial = draw_serial().unwrap();
    let name = named("m1", OTHER);
    let issued =
        ours.issue_certificate(&name, HostRole::Server, &request, Validity::of_host(NOW), serial);
    let chain = [issued.unwrap(), ours.own_certificate().as_der().clone()];
    assert!(verify_host_chain(&chain, &bundle(&[&ours, &theirs]), PeerSide::Server, NOW).is_err());
    // While authorities are exchanged both are believed.
    let (chain, _) = host(&false_one, "m1", HostRole::Server, NOW);
    verify_host_chain(&chain, &bundle(&[&ours, &false_one]), PeerSide::Server, NOW).unwrap();
}

#[test]
fn a_stolen_authority_of_a_cluster_is_none_for_anything_else() {
    // By the certificate itself, whoever looks at it: names below the cluster's zone, and no address.
    let ours = authority(CLUSTER);
    let (chain, _) = host(&ours, "m1", HostRole::Agent, NOW);
    let anchor = webpki::anchor_from_trusted_cert(&chain[1]).unwrap();
    assert!(anchor.name_constraints.is_some());
    let key = PrivateKey::generate_key().unwrap();
    let request = read_signing_request(&make_signing_request(&key).unwrap()).unwrap();
    let name = named("m1", OTHER);
    let serial = draw_serial().unwrap();
    let foreign = ours
        .issue_certificate(&name, HostRole::Agent, &request, Validity::of_host(NOW), serial)
        .unwrap();
    let check = |der: &CertificateDer<'_>| {
        let certificate = webpki::EndEntityCert::try_from(der).unwrap();
        let now = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW));
        let usage = webpki::KeyUsage::server_auth();
        let algorithms = [webpki::ring::ECDSA_P256_SHA256];
        let anchors = [anchor.clone()];
        certificate.verify_for_usage(&algorithms, &anchors, &[], now, usage, None, None).map(|_| ())
    };
    assert!(check(&chain[0]).is_ok());
    assert!(matches!(check(&foreign), Err(webpki::Error::NameConstraintViolation)));
}

#[test]
fn a_host_that_joins_believes_the_pin_and_servers_alone() {
    let (ours, other) = (authority(CLUSTER), authority(CLUSTER));
    let pin = ours.own_certificate().pin;
    let (chain, _) = host(&ours, "n1", HostRole::Server, NOW);
    let (found, authority) = verify_pinned_chain(&chain, pin, NOW).unwrap();
    assert_eq!((found.name, &authority), (named("n1", CLUSTER), ours.own_certificate()));
    let (chain, _) = host(&other, "n1", HostRole::Server, NOW);
    let refused = verify_pinned_chain(&chain, pin, NOW).unwrap_err();
    assert_eq!(refused, ChainError::WrongPin { pin, found: vec![other.own_certificate().pin] });
    assert!(refused.to_string().contains("take a token made on that cluster"), "{refused}");
    // The authority is shown, and has not signed what is shown with it.
    let mixed = [chain[0].clone(), ours.own_certificate().as_der().clone()];
    assert!(matches!(verify_pinned_chain(&mixed, pin, NOW), Err(ChainError::NotTrusted(_))));
    // A host that was shown to be none of the servers would keep the token for itself.
    let (chain, _) = host(&ours, "m1", HostRole::Agent, NOW);
    let refused = verify_pinned_chain(&chain, pin, NOW).unwrap_err();
    assert!(matches!(refused, ChainError::NotAServer { .. }), "{refused}");
    // Nothing of ours answers there.
    let refused = verify_pinned_chain(&[], pin, NOW).unwrap_err();
    assert!(refused.to_string().contains("none of Muster's authorities"), "{refused}");
}

#[test]
fn an_authority_that_somebody_changed_is_none() {
    let ours = authority(CLUSTER);
    let der = ours.own_certificate().as_der().to_vec();
    let cluster = CLUSTER.to_string();
    let at = der.windows(32).position(|part| part == cluster.as_bytes()).unwrap();
    let mut changed = der;
    changed[at] = b'f';
    assert!(AuthorityCertificate::from_der(&changed.into()).is_err());
    let text = ours.own_certificate().to_pem();
    assert_eq!(&AuthorityCertificate::from_pem(&text).unwrap(), ours.own_certificate());
    assert!(matches!(AuthorityCertificate::from_pem(&text[..200]), Err(AuthorityError::Text(_))));
    let other = PrivateKey::generate_key().unwrap();
    let refused = Authority::from_parts(ours.own_certificate().clone(), other).unwrap_err();
    assert!(matches!(refused, AuthorityError::OtherKey { .. }));
}

#[test]
fn clocks_may_differ_by_an_hour_and_are_named_where_they_differ_by_more() {
    let ours = authority(CLUSTER);
    let (chain, _) = host(&ours, "m1", HostRole::Agent, NOW);
    let look = |now| verify_host_chain(&chain, &bundle(&[&ours]), PeerSide::Client, now);
    assert!(look(NOW - HOUR).is_ok());
    let refused = look(NOW - 2 * HOUR).unwrap_err();
    assert_eq!(refused, ChainError::NotYetValid { not_before: NOW - HOUR, now: NOW - 2 * HOUR });
    assert!(look(NOW + 30 * DAY).is_ok());
    let refused = look(NOW + 31 * DAY).unwrap_err();
    assert_eq!(refused, ChainError::Expired { not_after: NOW + 30 * DAY, now: NOW + 31 * DAY });
    for refused in [look(0), look(NOW + 365 * DAY)] {
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("one of the two clocks is wrong"), "{said}");
    }
}

#[test]
fn a_certificate_is_renewed_from_the_tenth_day_on() {
    let ours = authority(CLUSTER);
    let (chain, _) = host(&ours, "m1", HostRole::Agent, NOW);
    let certificate = HostCertificate::from_der(&chain[0]).unwrap();
    assert!(!renewal_due(NOW, &certificate) && !renewal_due(NOW + 10 * DAY - 1, &certificate));
    assert!(
        renewal_due(NOW + 10 * DAY, &certificate) && renewal_due(NOW + 365 * DAY, &certificate)
    );
    assert!(!renewal_due(NOW - DAY, &certificate));
    // What is issued at the authority's end ends with it.
    let end = ours.own_certificate().validity.not_after;
    let (chain, _) = host(&ours, "m1", HostRole::Agent, end - DAY);
    let certificate = HostCertificate::from_der(&chain[0]).unwrap();
    assert_eq!(certificate.validity.not_after, end);
    assert_eq!(certificate.validity.age_at(end + 1), CertificateAge::Expired);
}

#[test]
fn no_two_certificates_of_a_key_are_the_same() {
    let ours = authority(CLUSTER);
    let key = PrivateKey::generate_key().unwrap();
    let request = read_signing_request(&make_signing_request(&key).unwrap()).unwrap();
    let issue = || {
        let (name, serial) = (named("m1", CLUSTER), draw_serial().unwrap());
        let validity = Validity::of_host(NOW);
        ours.issue_certificate(&name, HostRole::Agent, &request, validity, serial).unwrap()
    };
    assert_ne!(issue(), issue());
}

#[test]
fn whoever_has_no_record_with_its_key_is_nobody() {
    let ours = authority(CLUSTER);
    let (chain, key) = host(&ours, "m1", HostRole::Server, NOW);
    let certificate = HostCertificate::from_der(&chain[0]).unwrap();
    let record = |key| muster_common::pki::HostRecord {
        key,
        // The record says what it is, and not the certificate.
        role: HostRole::Agent,
        joined: NOW,
        by: muster_common::text::FreeText::default(),
        bundle: 1,
        not_after: 0,
    };
    assert_eq!(authorize_host(&certificate, Some(&record(key.hash()))), Ok(HostRole::Agent));
    let machine = certificate.name.machine().clone();
    assert_eq!(authorize_host(&certificate, None), Err(AccessRefusal::Unknown(machine.clone())));
    let another = KeyHash(Digest::of_bytes(b"another"));
    assert_eq!(
        authorize_host(&certificate, Some(&record(another))),
        Err(AccessRefusal::OtherKey(machine))
    );
}

/// The texts of the three files of a host, in the order of [`PkiFile::ALL`].
fn files(authority: &Authority, machine: &str, now: u64) -> [String; 3] {
    let (chain, key) = host(authority, machine, HostRole::Agent, now);
    let machine = machine.parse().unwrap();
    let made = HostCredentials::from_parts(key, chain, bundle(&[authority]), &machine, None);
    let made = made.unwrap();
    PkiFile::ALL.map(|file| made.file_text(file))
}

fn read(files: &[String; 3]) -> Result<HostCredentials, CredentialProblem> {
    let [key, chain, bundle] = files;
    HostCredentials::from_texts(key, chain, bundle, &"m1".parse().unwrap(), Some(CLUSTER))
}

#[test]
fn an_identity_on_a_disk_is_used_while_its_files_belong_together() {
    let ours = authority(CLUSTER);
    let whole = files(&ours, "m1", NOW);
    let read_back = read(&whole).unwrap();
    assert_eq!(PkiFile::ALL.map(|file| read_back.file_text(file)), whole);
    // A certificate that is over is no fault of the files.
    let old = files(&ours, "m1", NOW - 365 * DAY);
    assert_eq!(read(&old).unwrap().own_certificate().validity.age_at(NOW), CertificateAge::Expired);
}

#[test]
fn each_thing_that_is_wrong_with_an_identity_on_a_disk_has_its_own_sentence() {
    let (ours, other) = (authority(CLUSTER), authority(CLUSTER));
    let whole = files(&ours, "m1", NOW);
    let another = files(&ours, "m1", NOW);
    let with = |at: usize, text: &str| {
        let mut changed = whole.clone();
        text.clone_into(&mut changed[at]);
        read(&changed).unwrap_err().to_string()
    };
    for (said, wanted) in [
        // Truncated, emptied, overwritten.
        (with(0, &whole[0][..whole[0].len() / 2]), "host.key cannot be used"),
        (with(0, ""), "host.key cannot be used"),
        (
            with(1, &whole[1][..whole[1].len() / 3]),
            "host.pem cannot be read: a certificate in it has no end",
        ),
        (
            with(1, &whole[1][..whole[1].len() - 20]),
            "host.pem cannot be read: a certificate in it has no end",
        ),
        (with(1, ""), "host.pem cannot be read: there is no certificate in it"),
        (with(2, "garbage"), "bundle.pem cannot be read"),
        (with(1, &whole[2]), "the certificate in host.pem is no host's"),
        (with(2, &whole[1]), "bundle.pem cannot be read"),
        // Swapped with those of another host, or of another cluster.
        (with(0, &another[0]), "host.key and host.pem do not belong together"),
        (with(1, &another[1]), "host.key and host.pem do not belong together"),
        (
            with(2, &files(&other, "m1", NOW)[2]),
            "host.pem is vouched for by none of the authorities in bundle.pem",
        ),
        (
            read(&files(&ours, "m2", NOW)).unwrap_err().to_string(),
            "host.pem is of machine m2, and this is machine m1",
        ),
        (
            read(&files(&authority(OTHER), "m1", NOW)).unwrap_err().to_string(),
            "host.pem is of cluster 00000000000000000000000000000008",
        ),
    ] {
        assert!(said.starts_with(wanted), "{said}");
        assert!(said.contains("join anew") || said.contains("Copy it from another host"), "{said}");
        assert!(!said.contains("PRIVATE"), "{said}");
    }
}

/// An authority's certificate that somebody made who has its key, without what ours forbid themselves.
fn unbounded_authority() -> (AuthorityCertificate, rcgen::CertificateParams, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, CLUSTER.to_string());
    params.distinguished_name.push(rcgen::DnType::CommonName, "Muster authority 1");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let made = params.self_signed(&key).unwrap();
    (AuthorityCertificate::from_der(made.der()).unwrap(), params, key)
}

/// A certificate by it, with these names.
fn signed_by(
    params: &rcgen::CertificateParams,
    key: &rcgen::KeyPair,
    names: &[&str],
) -> CertificateDer<'static> {
    let mut host = rcgen::CertificateParams::default();
    host.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, "server");
    let name = |name: &&str| rcgen::SanType::DnsName((*name).try_into().unwrap());
    host.subject_alt_names = names.iter().map(name).collect();
    let issuer = rcgen::Issuer::from_params(params, key);
    host.signed_by(&rcgen::KeyPair::generate().unwrap(), &issuer).unwrap().der().clone()
}

#[test]
fn an_authority_without_bounds_is_believed_of_its_own_cluster_and_of_one_name_at_a_time() {
    let (authority, params, key) = unbounded_authority();
    let bundle = TrustBundle::new(vec![authority]);
    let look = |names: &[&str]| {
        let chain = [signed_by(&params, &key, names)];
        verify_host_chain(&chain, &bundle, PeerSide::Server, NOW)
    };
    let (ours, theirs) = (named("m1", CLUSTER).to_string(), named("m1", OTHER).to_string());
    look(&[&ours]).unwrap();
    assert!(matches!(look(&[&theirs]), Err(ChainError::NotTrusted(_))));
    for names in
        [&[ours.as_str(), &theirs][..], &[ours.as_str(), "example.org"], &[], &["example.org"]]
    {
        assert!(matches!(look(names), Err(ChainError::Certificate(_))), "{names:?}");
    }
}
