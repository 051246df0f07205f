//! Every key and form that podman-systemd.unit(5) describes, held against what the generator of a host makes of it.
//!
//! That Muster takes each of the files, and looks for its service under the right name, is a unit test of `muster-common`: here the
//! expectations that it rests on are held against Podman itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use muster_tests::lab::{Host, Lab, Options, Release};

/// Has the generator translate each file beside those it may name, and prints what of the service says what it does.
const TRANSLATE: &str = r#"
export LC_ALL=C
cd /root/quadlet/files
generator=/usr/lib/systemd/system-generators/podman-system-generator
for file in *; do
    rm -rf /root/one /root/made && mkdir -p /root/one /root/made && cp "$file" /root/one
    QUADLET_UNIT_DIRS=/root/one:/root/quadlet/named $generator --no-kmsg-log /root/made 2> /root/words
    code=$?
    service=$(find /root/made -maxdepth 1 -type f -exec grep -lx "SourcePath=/root/one/$file" {} +)
    echo "== $file: ${service##*/} ($code)"
    grep -hE '^(ExecStart|Requires=|BindsTo=|Type=|WorkingDirectory=)' $service < /dev/null
    grep -h converting /root/words
done
true
"#;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/quadlet")
}

/// Puts the corpus onto a host.
fn copy_corpus(host: &Host) -> Result<()> {
    let packed =
        Command::new("tar").arg("--create").arg("--directory").arg(corpus()).arg(".").output()?;
    ensure!(packed.status.success(), "tar: {}", String::from_utf8_lossy(&packed.stderr));
    host.exec(&["mkdir", "-p", "/root/quadlet"])?.ensure_success()?;
    let unpack = ["tar", "--extract", "--no-same-owner", "--directory", "/root/quadlet"];
    host.exec_with_input(&unpack, &packed.stdout)?.ensure_success().map(|_| ())
}

#[test]
fn the_generator_takes_every_key_and_form() -> Result<()> {
    let options =
        Options { hosts: 1, etcd: false, release: Some(Release::Trixie), ..Options::default() };
    let lab = Lab::start(&options)?;
    let host = lab.host(0)?;
    copy_corpus(host)?;
    let made = host.exec(&["bash", "-c", TRANSLATE])?.ensure_success()?.stdout;
    let files = std::fs::read_dir(corpus().join("files"))?.count();
    let taken =
        made.lines().filter(|line| line.starts_with("== ") && line.ends_with(" (0)")).count();
    ensure!(files >= 60 && taken == files, "it takes {taken} of {files} files:\n{made}");

    let path = corpus().join("expected.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &made)?;
    }
    let expected = std::fs::read_to_string(&path).context("run with UPDATE=1")?;
    // The generator writes what it keeps in a map, as labels are, in an order that changes.
    let words = |line: &str| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        words.sort();
        words
    };
    let mut lines = made.lines().zip(expected.lines());
    let differs = lines.find(|(made, expected)| words(made) != words(expected));
    ensure!(differs.is_none(), "it makes something else than expected: {differs:?}");
    ensure!(
        made.lines().count() == expected.lines().count(),
        "it makes more or less than expected"
    );
    lab.tear_down()
}
