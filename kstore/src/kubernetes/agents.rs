//! The agents in this process, and each as a process of its own. They know the API server by its
//! address and a certificate, as any client does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use kstore_cluster_agents::{
    ControllerOptions, HollowOptions, Leadership, root_ca_of, run_controllers, run_hollow,
    run_scheduler,
};
use kstore_host::Random as _;
use kstore_host::os::OsRandom;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// An agent that is a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agent {
    Scheduler,
    ControllerManager,
    Hollow,
}

impl Agent {
    /// The agent that a word names.
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "scheduler" => Some(Self::Scheduler),
            "controller-manager" => Some(Self::ControllerManager),
            "hollow" => Some(Self::Hollow),
            _ => None,
        }
    }
}

/// What the command line says about an agent.
#[derive(Debug, Parser)]
struct Flags {
    /// Where the server is and who asks it
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: PathBuf,
    /// Whether to work only while holding the lease that says who leads
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    leader_elect: bool,
    /// The name of the hollow node
    #[arg(long, default_value = "hollow")]
    node_name: String,
}

/// Runs an agent until a signal. `words` are the program's name and the flags.
pub(crate) fn run_alone(agent: Agent, words: &[std::ffi::OsString]) -> ExitCode {
    let flags = match Flags::try_parse_from(words) {
        Ok(flags) => flags,
        Err(why) => {
            crate::complain(why.to_string().trim_end());
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime
        .map_err(|error| format!("start threads: {error}"))
        .and_then(|runtime| runtime.block_on(serve(agent, flags)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            crate::complain(&format!("kstore {agent:?}: {why}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(agent: Agent, flags: Flags) -> Result<(), String> {
    let config = config_of(&flags.kubeconfig).await?;
    let root_ca = root_ca_of(&config);
    let client = Client::try_from(config).map_err(|error| error.to_string())?;
    let leadership = if flags.leader_elect {
        Leadership::Elected { identity: identity() }
    } else {
        Leadership::Alone
    };
    let until = stopped()?;
    let outcome = match agent {
        Agent::Scheduler => run_scheduler(client, leadership, until).await,
        Agent::ControllerManager => {
            let options = ControllerOptions { root_ca, ..ControllerOptions::default() };
            run_controllers(client, options, leadership, until).await
        }
        Agent::Hollow => run_hollow(client, HollowOptions::named(&flags.node_name), until).await,
    };
    outcome.map_err(|error| error.to_string())
}

/// Who this process is to others that want to lead.
fn identity() -> String {
    format!("kstore-{}-{:016x}", std::process::id(), OsRandom.next_u64())
}

/// Ends when this process is told to stop.
pub(super) fn stopped() -> Result<impl Future<Output = ()> + Send, String> {
    let open = |kind| signal(kind).map_err(|error| format!("listen for signals: {error}"));
    let (mut terminate, mut interrupt) =
        (open(SignalKind::terminate())?, open(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn config_of(path: &Path) -> Result<Config, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("read {}: {error}", path.display());
    let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(file, &options).await.map_err(|error| wrong(&error))
}

/// All agents, beside the server in this process.
pub(crate) struct Agents {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Agents {
    /// Starts them with the kubeconfigs that lie in `dir`.
    pub(crate) async fn start(dir: &Path) -> Result<Self, String> {
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for agent in [Agent::Scheduler, Agent::ControllerManager, Agent::Hollow] {
            let name = match agent {
                Agent::Scheduler => "scheduler",
                Agent::ControllerManager => "controller-manager",
                Agent::Hollow => "hollow",
            };
            let config = config_of(&dir.join(format!("{name}.kubeconfig"))).await?;
            let root_ca = root_ca_of(&config);
            let client = Client::try_from(config).map_err(|error| error.to_string())?;
            let mut stopped = stop.subscribe();
            let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
            tasks.spawn(async move {
                let alone = Leadership::Alone;
                let outcome = match agent {
                    Agent::Scheduler => run_scheduler(client, alone, until).await,
                    Agent::ControllerManager => {
                        let options = ControllerOptions { root_ca, ..ControllerOptions::default() };
                        run_controllers(client, options, alone, until).await
                    }
                    Agent::Hollow => {
                        run_hollow(client, HollowOptions::named("hollow"), until).await
                    }
                };
                if let Err(error) = outcome {
                    tracing::error!(%error, name, "an agent has ended");
                }
            });
        }
        Ok(Self { stop, tasks })
    }

    /// Ends them.
    pub(crate) fn end(mut self) {
        self.stop.send_replace(true);
        self.tasks.abort_all();
    }
}
