//! Credentials for registries, from a file such as `docker login` writes.
//!
//! Owns finding the entry for a registry. It runs no helper programs, and no error of its says what the file holds.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::runner::docker::client::EngineError;

/// The name under which `docker login` keeps Docker's own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The credentials for a registry, as the header has them.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RegistryCredentials {
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    serveraddress: Option<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Clone, Default)]
#[serde(default, rename_all = "lowercase")]
struct Entry {
    auth: String,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// The credentials for the registry a repository lies in, from the text of a file; `None` where it has none for it.
pub(crate) fn find_credentials(
    text: io::Result<Vec<u8>>,
    path: &Path,
    repository: &str,
) -> Result<Option<RegistryCredentials>, String> {
    let bytes = text
        .map_err(|error| format!("cannot read the credentials in {}: {error}", path.display()))?;
    find_entry(&bytes, repository).map_err(|problem| format!("{}: {problem}", path.display()))
}

/// The header that carries credentials to an engine.
pub(crate) const HEADER: &str = "X-Registry-Auth";

/// Its value: JSON in the URL's alphabet of base64, padded, as the documentation of Docker's API has it.
pub(crate) fn auth_header(credentials: &RegistryCredentials) -> Result<HeaderValue, EngineError> {
    let unwritable =
        || EngineError::new_refusal("the credentials for the registry cannot be written");
    let json = serde_json::to_vec(credentials).map_err(|_| unwritable())?;
    let mut value = HeaderValue::try_from(URL_SAFE.encode(json)).map_err(|_| unwritable())?;
    value.set_sensitive(true);
    Ok(value)
}

fn find_entry(bytes: &[u8], repository: &str) -> Result<Option<RegistryCredentials>, String> {
    // serde's own words would quote the file.
    let file: File = serde_json::from_slice(bytes).map_err(|error| {
        format!("line {}: it is not a configuration file of docker's", error.line())
    })?;
    let registry = registry_of(repository);
    let entry = file.auths.iter().find(|(name, _)| {
        let name = name.as_str();
        name == registry || (name != DOCKER_HUB && host_of(name) == registry)
    });
    let Some((name, entry)) = entry else { return Ok(None) };
    let (mut username, mut password) = (entry.username.clone(), entry.password.clone());
    if !entry.auth.is_empty() {
        let pair = STANDARD.decode(&entry.auth).ok().and_then(|pair| String::from_utf8(pair).ok());
        let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
        let Some((user, secret)) = pair else {
            return Err(format!("the entry for {name} cannot be read; log in again"));
        };
        username = Some(user.to_owned());
        password = Some(secret.trim_end_matches('\0').to_owned());
    }
    Ok(Some(RegistryCredentials {
        username,
        password,
        identitytoken: entry.identitytoken.clone(),
        serveraddress: Some(name.clone()),
    }))
}

/// The registry a repository lies in: what stands before its first slash, if that looks like a host.
fn registry_of(repository: &str) -> &str {
    match repository.split_once('/') {
        Some(("docker.io" | "index.docker.io", _)) | None => DOCKER_HUB,
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        Some(_) => DOCKER_HUB,
    }
}

/// Older files have whole addresses for names.
fn host_of(name: &str) -> &str {
    let name =
        name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    name.split_once('/').map_or(name, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"auths": {
        "https://index.docker.io/v1/": {"auth": "aHViOm9uZQ=="},
        "localhost:5000": {"auth": "bWU6dHdvOnRocmVl"},
        "https://registry.example/v2/": {"auth": "bWU6Zm91cg=="},
        "broken.example": {"auth": "?"}
    }}"#;

    #[test]
    fn the_entry_is_the_registrys() {
        let password = |repository: &str| {
            find_entry(FILE.as_bytes(), repository).unwrap().and_then(|found| found.password)
        };
        assert_eq!(password("busybox").as_deref(), Some("one"));
        assert_eq!(password("docker.io/library/busybox").as_deref(), Some("one"));
        assert_eq!(password("team/busybox").as_deref(), Some("one"));
        assert_eq!(password("localhost:5000/web").as_deref(), Some("two:three"));
        assert_eq!(password("registry.example/web").as_deref(), Some("four"));
        assert_eq!(password("other.example/web"), None);
    }

    #[test]
    fn the_header_is_in_the_alphabet_of_urls() {
        let credentials = RegistryCredentials {
            username: Some("me".to_owned()),
            password: Some("p??>>~~?>z".to_owned()),
            ..RegistryCredentials::default()
        };
        let value = auth_header(&credentials).unwrap();
        assert!(!format!("{value:?}").contains("ey"), "it is in no log");
        let value = value.to_str().unwrap();
        assert!(value.contains('-') && !value.contains(['+', '/']), "{value}");
        let read: serde_json::Value =
            serde_json::from_slice(&URL_SAFE.decode(value).unwrap()).unwrap();
        assert_eq!(read["password"], "p??>>~~?>z");
    }

    #[test]
    fn no_fault_quotes_the_file() {
        let fault = |text: &str| find_entry(text.as_bytes(), "broken.example/a").unwrap_err();
        assert_eq!(fault(FILE), "the entry for broken.example cannot be read; log in again");
        assert_eq!(
            fault("{\n\"auths\": hunter2}"),
            "line 2: it is not a configuration file of docker's"
        );
    }
}
