//! Container units at the door: what is refused, what is warned of, and what is in use.

use std::time::Duration;

use http::{Method, StatusCode};
use muster_common::machine::RunnerKind;
use serde_json::json;

use super::{Cluster, cluster};

const WEB: &str = "[Container]\nImage=web\nVolume=data.volume:/data\n";
const DATA: &str = "[Volume]\n";

#[tokio::test]
async fn a_file_no_engine_can_run_is_refused_with_its_line() {
    let cluster = cluster().await;
    let text = "[Container]\nImage=web\nPod=a.pod\n[X-Fleet]\nRunner=docker\n";
    let answer = cluster.submit("web.container", text, "launched").await;
    assert_eq!(
        (answer["outcome"].as_str(), answer["message"].as_str()),
        (
            Some("failed"),
            Some(
                "web.container: line 3: [Container] Pod: refused: Docker has no pods; use Network=NAME.container to share a network"
            )
        )
    );
    assert_eq!(cluster.get("/fleet/v1/units/web.container").await.status, StatusCode::NOT_FOUND);

    let options = json!([{"section": "Container", "name": "Imag", "value": "web"}]);
    let put = cluster.put("web.container", json!({"name": "web.container", "options": options}));
    let answer = put.await;
    assert!(answer.status.is_client_error(), "{}", answer.text);
    assert!(answer.message().contains("did you mean Image?"), "{}", answer.text);
}

#[tokio::test]
async fn a_volume_is_not_started_by_itself() {
    let cluster = cluster().await;
    let answer = cluster.submit("data.volume", DATA, "launched").await;
    assert_eq!(
        answer["message"],
        "cannot start data.volume: a volume is made on each machine where a container names it; submit it, and start that container, or write Runner=podman into its [X-Fleet]"
    );
    assert_eq!(cluster.submit("data.volume", DATA, "inactive").await["outcome"], "created");
}

#[tokio::test]
async fn what_has_no_effect_is_told_once() {
    let cluster = cluster().await;
    let text = "[Container]\nImage=web\n[Unit]\nWants=db.service\n";
    let answer = cluster.submit("web.container", text, "inactive").await;
    let warnings: Vec<&str> =
        answer["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.starts_with("web.container: line 4: [Unit] Wants: no effect: "), "{warning}");
}

impl Cluster {
    /// A machine with this runner, which is also the one for files that name none.
    async fn join_with(&self, id: &str, runner: RunnerKind) {
        let lease = self.registry.grant_lease(Duration::from_secs(600)).await.unwrap();
        let known = self.registry.read_snapshot().await.unwrap();
        let mut machine = known.machines[&self.presence.machine].clone();
        machine.id = id.parse().unwrap();
        machine.runners = [RunnerKind::Systemd, runner].into();
        machine.container_runner = (runner != RunnerKind::Docker).then_some(runner);
        self.registry.register_machine(&machine, lease).await.unwrap();
    }

    /// What is said of a file that names no runner.
    async fn told_of(&self, name: &str, lines: &str) -> String {
        let text = format!("[Container]\nImage=localhost/web\n{lines}\n");
        let answer = self.submit(name, &text, "inactive").await;
        let warnings = answer["warnings"].as_array();
        let told = warnings.into_iter().flatten().map(|warning| warning.as_str().unwrap());
        told.chain(answer["message"].as_str()).collect::<Vec<_>>().join("\n")
    }
}

#[tokio::test]
async fn the_runner_that_would_run_it_is_the_one_that_warns() {
    let cluster = cluster().await;
    let updates = "AutoUpdate=registry";
    let told = cluster.told_of("a.container", updates).await;
    assert!(told.contains("line 3: [Container] AutoUpdate: no effect"), "{told}");
    assert!(!told.contains("odman does"), "{told}");
    let told = cluster.told_of("wrong.container", "Volume=/a:/b:U").await;
    assert!(!told.contains("Runner=podman"), "{told}");

    // Every machine that runs containers has Podman run them.
    cluster.join_with("p1", RunnerKind::Podman).await;
    let told = cluster.told_of("b.container", updates).await;
    let expected = "b.container: line 3: [Container] AutoUpdate: left to Podman: ";
    assert!(told.starts_with(expected) && told.lines().count() == 1, "{told}");
    let told = cluster.told_of("c@.container", "Volume=d@%i.volume:/d").await;
    let expected =
        "c@.container: line 3: Podman does not take it: [Container] Volume=d@%i.volume: ";
    assert!(told.starts_with(expected), "{told}");
    let told = cluster.told_of("wrong.container", "Volume=/a:/b:U").await;
    assert!(told.contains("line 3: [Container] Volume: "), "{told}");
    assert!(told.contains("with Runner=podman in [X-Fleet] only Podman's word counts"), "{told}");

    // It may be either's.
    cluster.join_with("d1", RunnerKind::Docker).await;
    let told = cluster.told_of("e.container", updates).await;
    assert!(told.contains("(where Docker runs it)\n"), "{told}");
    assert!(told.ends_with("(where Podman runs it)"), "{told}");
}

#[tokio::test]
async fn a_volume_that_a_container_names_is_not_destroyed_before_it() {
    let cluster = cluster().await;
    cluster.submit("data.volume", DATA, "inactive").await;
    cluster.submit("web.container", WEB, "inactive").await;
    let destroy = async |units: &[&str]| {
        let names = json!({ "names": units }).to_string();
        cluster.send_json(Method::POST, "/v1/units/destroy", &names).await
    };
    let expected = "data.volume is in use: web.container names it; destroy web.container first, or both at once";
    let answer = destroy(&["data.volume"]).await;
    assert_eq!((answer.status, answer.message()), (StatusCode::CONFLICT, expected));
    let answer = cluster.send_json(Method::DELETE, "/fleet/v1/units/data.volume", "").await;
    assert_eq!((answer.status, answer.message()), (StatusCode::CONFLICT, expected));
    assert_eq!(destroy(&["web.container", "data.volume"]).await.status, StatusCode::OK);
    assert_eq!(cluster.get("/fleet/v1/units/data.volume").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_volume_and_a_network_may_be_empty() {
    let cluster = cluster().await;
    for (name, text) in [("data.volume", ""), ("front.network", "# ours\n")] {
        assert_eq!(cluster.submit(name, text, "inactive").await["outcome"], "created", "{name}");
    }
    for name in ["web.container", "web.service", "web@.timer"] {
        let answer = cluster.submit(name, "", "inactive").await;
        assert_eq!(answer["message"], format!("{name}: it is empty"));
    }
}
