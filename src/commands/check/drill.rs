//! The links that only drills have: whether there was one in time, and what a private cluster is made with.

use std::path::Path;

use jiff::Timestamp;

use super::chain::Chain;
use crate::commands::status::drill::Drills;
use crate::config::{Config, DrillPlace};
use crate::database::cluster;
use crate::lock;
use crate::verdict::{Failed, Verdict};

/// Nothing where nobody has said how often.
pub fn on_time(chain: &mut Chain, config: &Config, job: &str) {
    let Some(every) = config.drill.every else {
        return;
    };
    let running = lock::held(&config.state_dir, job).flatten();
    let running = running.as_ref().map(|holder| holder.run.as_str());
    let drills = Drills::of((config, job), running, Timestamp::now());
    let drills = match drills {
        Ok(drills) => drills,
        Err(failed) => return chain.failed("drill", &failed),
    };
    match (drills.overdue(Some(every)), &drills.last_good_drill) {
        (Some(overdue), _) => {
            let failed = Failed::new(Verdict::Attention, overdue);
            chain.failed(
                "drill",
                &failed.hint(format!("`backupctl drill {job}` makes one")),
            );
        }
        (None, Some(good)) => chain.ok("drill", good.in_words()),
        (None, None) => {}
    }
}

/// Nothing where drills restore to the job's server.
pub async fn programs(chain: &mut Chain, config: &Config, bin_dir: Option<&Path>) {
    if config.drill.place != DrillPlace::Local {
        return;
    }
    let found = match cluster::server_user() {
        Ok(_) => cluster::choose(bin_dir, None).await,
        Err(failed) => Err(failed),
    };
    chain.take("initdb", found, |tool| {
        format!("PostgreSQL {} for a private cluster", tool.version)
    });
}
