//! The power of a machine on which units only pretend to run: it goes down when a test says so.

use async_trait::async_trait;
use muster_common::reboot::RebootMethod;
use muster_engine::reboot::phase::Inhibitor;
use musterd::host::power::{self, HostError};

use crate::host::ScriptedHost;

#[async_trait]
impl power::HostPower for ScriptedHost {
    fn boot_id(&self) -> String {
        self.with(|s| format!("boot-{}", s.boots))
    }

    async fn userspace_id(&self) -> Option<String> {
        Some(self.with(|s| s.userspaces).to_string())
    }

    fn up_millis(&self) -> u64 {
        0
    }

    async fn shutdown_inhibitors(&self) -> Result<Vec<Inhibitor>, HostError> {
        Ok(Vec::new())
    }

    async fn user_sessions(&self) -> Result<u64, HostError> {
        Ok(0)
    }

    async fn is_stopping(&self) -> bool {
        self.with(|s| s.stopping)
    }

    async fn goes_softly(&self) -> bool {
        self.with(|s| s.softly)
    }

    async fn wait_for_shutdown(&self, known: bool) -> bool {
        self.wait_until(|s| s.stopping != known).await;
        !known
    }

    async fn tell_users(&self, _text: &str) -> Result<(), HostError> {
        Ok(())
    }

    async fn reboot(&self, _method: RebootMethod) -> Result<(), HostError> {
        Ok(())
    }
}
