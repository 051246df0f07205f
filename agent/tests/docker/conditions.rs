//! Conditions, assertions, files of variables, slices: what the machine has to say at each start.

use muster_common::unit::{FileHash, UnitFile};

use super::*;

impl Case {
    /// Takes in a file with these lines before those of `[Container]`.
    async fn write_unit(&self, unit: &str, container: &str) {
        let text = format!("[Unit]\n{unit}\n{}", self.engine.container(container));
        let _: UnitFile = text.parse().unwrap();
        self.runner.write(&self.unit, FileHash::of_text(&text), &text).await.unwrap();
    }
}

#[tokio::test]
async fn a_condition_is_looked_at_on_the_machine_at_each_start() {
    let Some(mut case) = Case::new("docker-condition") else { return };
    let there = case.engine.directory.path().join("there");
    let unit = format!("ConditionPathExists={}", there.display());
    case.write_unit(&unit, "RunInit=yes\nExec=sleep 1000000\n[Service]\nRestart=always").await;
    assert_eq!(case.start().await, StartOutcome::Done, "it is no failure");
    case.wait_until("inactive", "dead").await;
    let reason = format!("condition: {unit} was not met");
    assert_eq!(case.see().await.remark, reason);
    assert!(!case.engine.is_there(&case.container()).await);
    // A new daemon tells it, too.
    case.runner = case.engine.runner();
    case.wait_until("inactive", "dead").await;
    assert_eq!(case.see().await.remark, reason);

    std::fs::write(&there, "").unwrap();
    assert_eq!(case.start().await, StartOutcome::Done);
    case.wait_until("active", "running").await;
    assert_eq!(case.see().await.remark, "");
    // And before it is started again by itself.
    std::fs::remove_file(&there).unwrap();
    case.engine.kill_container(&case.container()).await;
    case.wait_until("inactive", "dead").await;
    assert_eq!(case.see().await.remark, reason);
    case.end().await;
}

#[tokio::test]
async fn an_assertion_that_does_not_hold_fails_the_start() {
    let Some(case) = Case::new("docker-assert") else { return };
    let there = case.engine.directory.path().join("there");
    let unit = format!("AssertPathExists={}", there.display());
    case.write_unit(&unit, "RunInit=yes\nExec=sleep 1000000\n[Service]\nRestart=always").await;
    let problem = failed(case.start().await);
    assert_eq!(problem, format!("start failed: {unit} was not met"));
    case.wait_until("failed", "failed").await;
    assert_eq!(case.see().await.remark, format!("assert: {unit} was not met"));
    std::fs::write(&there, "").unwrap();
    assert_eq!(case.start().await, StartOutcome::Done);
    case.wait_until("active", "running").await;
    case.end().await;
}

#[tokio::test]
async fn a_file_of_variables_is_read_at_each_start() {
    let Some(case) = Case::new("docker-variables") else { return };
    let file = case.engine.directory.path().join("variables");
    let lines = format!(
        "RunInit=yes\nLabel=role=${{ROLE}}\nExec=sleep $TIME\n[Service]\nEnvironment=TIME=5\nEnvironmentFile={}",
        file.display()
    );
    case.write(&lines).await;
    let problem = failed(case.start().await);
    assert!(problem.contains("this machine does not have"), "{problem}");
    for role in ["web server", "db"] {
        std::fs::write(&file, format!("ROLE=\"{role}\"\nTIME=1000000\n")).unwrap();
        assert_eq!(case.runner.restart(&case.unit, 8).await.unwrap(), StartOutcome::Done);
        let config = case.inspect().await.config.unwrap();
        assert_eq!(config.labels.unwrap().get("role").map(String::as_str), Some(role));
        assert_eq!(config.cmd.unwrap(), ["sleep", "1000000"]);
    }
    case.end().await;
}

#[tokio::test]
async fn a_slice_is_for_an_engine_that_leaves_control_groups_to_systemd() {
    let Some(case) = Case::new("docker-slice") else { return };
    case.write("RunInit=yes\nExec=sleep 1000000\n[Service]\nSlice=muster-test.slice").await;
    let info = case.engine.client().info().await.unwrap();
    let driver = info.cgroup_driver.unwrap().to_string();
    let outcome = case.start().await;
    if driver == "systemd" {
        assert_eq!(outcome, StartOutcome::Done);
        let parent = case.inspect().await.host_config.unwrap().cgroup_parent;
        assert_eq!(parent.as_deref(), Some("muster-test.slice"));
    } else {
        let expected = format!(
            "start failed: Slice=muster-test.slice: this machine's container engine keeps its control groups by {driver} and knows no slices; start it with native.cgroupdriver=systemd"
        );
        assert_eq!(failed(outcome), expected);
    }
    case.end().await;
}

#[tokio::test]
async fn limits_and_options_of_podmans_reach_the_engine() {
    let Some(case) = Case::new("docker-limits") else { return };
    case.write(
        "RunInit=yes\nExec=sleep 1000000\nPodmanArgs=--pid host --ipc=private --oom-score-adj=100 -e 'A=b c'\n\
         [Service]\nCPUQuota=20%\nTasksMax=50",
    )
    .await;
    assert_eq!(case.start().await, StartOutcome::Done);
    let answer = case.inspect().await;
    let host = answer.host_config.unwrap();
    // An engine on a kernel that cannot limit drops the limit, and says so.
    let info = case.engine.client().info().await.unwrap();
    if info.cpu_cfs_quota == Some(true) {
        assert_eq!((host.cpu_period, host.cpu_quota), (Some(100_000), Some(20_000)));
    }
    if info.pids_limit == Some(true) {
        assert_eq!(host.pids_limit, Some(50));
    }
    assert_eq!(host.oom_score_adj, Some(100));
    assert_eq!(
        (host.pid_mode.as_deref(), host.ipc_mode.as_deref()),
        (Some("host"), Some("private"))
    );
    assert!(answer.config.unwrap().env.unwrap().contains(&"A=b c".to_owned()));
    case.end().await;
}

#[tokio::test]
async fn a_path_that_is_not_there_is_never_made_up() {
    let Some(case) = Case::new("docker-nopath") else { return };
    let nowhere = case.engine.directory.path().join("nowhere");
    for options in ["", ":Z"] {
        let nowhere = nowhere.display();
        case.write(&format!("Volume={nowhere}:/data{options}\nExec=true")).await;
        let problem = failed(case.runner.restart(&case.unit, 8).await.unwrap());
        assert!(problem.contains(&nowhere.to_string()), "{problem}");
    }
    assert!(!nowhere.exists());
    case.end().await;
}
