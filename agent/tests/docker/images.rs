//! What rests on the image: where Docker would run a file otherwise than Podman, it is made up for or refused.

use bollard::models::{ContainerConfig, ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptionsBuilder, RemoveImageOptions,
    WaitContainerOptions,
};
use futures::StreamExt as _;
use musterd::runner::StartOutcome;

use super::{Case, failed};

/// A unit with an image of its own.
struct Imaged {
    case: Case,
    image: String,
}

impl Imaged {
    /// The image has what this script leaves behind, and is run as this user.
    async fn new(stem: &str, script: &str, user: Option<&str>) -> Option<Self> {
        let case = Case::new(stem)?;
        let client = case.engine.client();
        let maker = format!("{stem}-maker");
        case.engine.remove_quietly(&maker).await;
        let options = CreateContainerOptionsBuilder::new().name(&maker).build();
        let body = ContainerCreateBody {
            image: Some(case.engine.image.clone()),
            cmd: Some(["sh", "-ec", script].map(str::to_owned).to_vec()),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        client.create_container(Some(options), body).await.unwrap();
        client.start_container(&maker, None).await.unwrap();
        let ended = client.wait_container(&maker, None::<WaitContainerOptions>).next().await;
        assert_eq!(ended.unwrap().unwrap().status_code, 0, "{script}");
        let image = format!("localhost/muster-{stem}:1");
        let (repo, tag) = image.rsplit_once(':').unwrap();
        let options =
            CommitContainerOptionsBuilder::new().container(&maker).repo(repo).tag(tag).build();
        let config =
            ContainerConfig { user: user.map(str::to_owned), ..ContainerConfig::default() };
        client.commit_container(options, config).await.unwrap();
        case.engine.remove_container(&maker).await;
        Some(Self { case, image })
    }

    async fn start(&self, lines: &str) -> StartOutcome {
        let lines = format!("Image={}\n{lines}\n[Service]\nType=oneshot", self.image);
        self.case.write(&lines).await;
        self.case.start().await
    }

    async fn end(self) {
        let client = self.case.engine.client();
        self.case.end().await;
        client.remove_image(&self.image, None::<RemoveImageOptions>, None).await.unwrap();
    }
}

#[tokio::test]
async fn a_tmpfs_begins_with_the_directories_of_its_image_and_runs_what_is_on_it() {
    let script = "mkdir -p /run/lock /run/app/in; chmod 1777 /run/lock; chown 3:4 /run/app; chmod 0750 /run/app";
    let Some(imaged) = Imaged::new("docker-furnished", script, None).await else { return };
    let exec = "Exec=sh -ec '[ \"$(stat -c %%a.%%u.%%g /run/lock /run/app | tr \"\\\\n\" \" \")\" = \"1777.0.0 750.3.4 \" ]; \
                echo a > /run/lock/a; echo a > /run/app/in/a; for d in /run /tmp /scratch; do cp /bin/true $d/true; $d/true; done'";
    let lines = format!("ReadOnly=yes\nTmpfs=/scratch:size=8M\n{exec}");
    assert_eq!(imaged.start(&lines).await, StartOutcome::Done);
    imaged.end().await;
}

#[tokio::test]
async fn a_tmpfs_that_would_hide_a_file_of_the_image_is_refused() {
    let script = "mkdir -p /srv/log/app; echo a > /srv/log/app/old.log; ln -s /srv/log /srv/link";
    let Some(imaged) = Imaged::new("docker-hidden", script, None).await else { return };
    for (place, named) in
        [("/srv/log", "/srv/log/app/old.log"), ("/srv/link", "/srv/link/app/old.log")]
    {
        let problem = failed(imaged.start(&format!("Tmpfs={place}\nExec=true")).await);
        let begin =
            format!("start failed: the image has {named}, and a tmpfs of Podman's begins with it");
        assert!(problem.starts_with(&begin), "{problem}");
        assert!(!imaged.case.engine.is_there(&imaged.case.container()).await);
    }
    let lines = "Tmpfs=/srv/log:notmpcopyup\nMount=type=tmpfs,dst=/srv/none\nExec=sh -ec '[ ! -e /srv/log/app ]'";
    assert_eq!(imaged.start(lines).await, StartOutcome::Done);
    // What is mounted over it hides it in either.
    let lines = "Tmpfs=/srv/log\nTmpfs=/srv/log/app:notmpcopyup\nExec=sh -ec '[ ! -e /srv/log/app/old.log ]'";
    assert_eq!(imaged.start(lines).await, StartOutcome::Done);
    imaged.end().await;
}

#[tokio::test]
async fn what_wants_to_be_set_up_for_systemd_is_refused() {
    let script = "mkdir -p /usr/lib/systemd; ln -sf /bin/true /usr/lib/systemd/systemd";
    let Some(imaged) = Imaged::new("docker-systemd", script, None).await else { return };
    let expected = "start failed: it runs systemd (/usr/lib/systemd/systemd), for which Podman sets a container up";
    for lines in [
        "Exec=/usr/lib/systemd/systemd --system",
        "Entrypoint=/usr/lib/systemd/systemd\nExec=--system",
        "Entrypoint=\nExec=/bin/sh -c /usr/lib/systemd/systemd",
    ] {
        let problem = failed(imaged.start(lines).await);
        assert!(problem.starts_with(expected), "{lines}: {problem}");
    }
    assert_eq!(imaged.start("Exec=ls /usr/lib/systemd/systemd").await, StartOutcome::Done);
    imaged.end().await;
}

#[tokio::test]
async fn capabilities_are_podmans_and_go_to_root() {
    let Some(imaged) = Imaged::new("docker-powers", "true", Some("33")).await else { return };
    let has = |mask: &str| format!("Exec=grep -q CapBnd:.00000000{mask} /proc/self/status");
    assert_eq!(imaged.start(&has("800405fb")).await, StartOutcome::Done);
    assert_eq!(
        imaged.start(&format!("User=root\nAddCapability=NET_RAW\n{}", has("800425fb"))).await,
        StartOutcome::Done
    );
    let problem = failed(imaged.start("AddCapability=NET_RAW\nExec=true").await);
    assert_eq!(
        problem,
        "start failed: AddCapability=CAP_NET_RAW: Docker gives what is added to root alone, and the image runs as 33; \
         say User=root or leave it out"
    );
    imaged.end().await;
}
