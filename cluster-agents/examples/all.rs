//! Runs every agent, and one hollow node, against the server of the current kubeconfig:
//!
//! ```text
//! KUBECONFIG=some.kubeconfig cargo run -p kstore-cluster-agents --example all [node] ...
//! ```
//!
//! Each argument is the name of a hollow node; without any there is one, `hollow-0`. With
//! `--elect identity` first, scheduler and controllers wait until they lead.

use kstore_cluster_agents::{
    Agents, ControllerOptions, HollowOptions, Leadership, root_ca_of, run,
};

/// A node whose pods have addresses of their own: 10.128.0.0/16, 10.129.0.0/16 and so on.
fn node(name: &str, at: u8) -> HollowOptions {
    let pod_network = (std::net::Ipv4Addr::new(10, at, 0, 0), 16);
    HollowOptions { pod_network, ..HollowOptions::named(name) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let mut nodes: Vec<String> = std::env::args().skip(1).collect();
    let mut leadership = Leadership::Alone;
    if nodes.len() >= 2 && nodes[0] == "--elect" {
        leadership = Leadership::Elected { identity: nodes.remove(1) };
        nodes.remove(0);
    }
    if nodes.is_empty() {
        nodes.push("hollow-0".to_owned());
    }
    let config = kube::Config::infer().await?;
    let options =
        ControllerOptions { root_ca: root_ca_of(&config), ..ControllerOptions::default() };
    let client = kube::Client::try_from(config)?;
    let agents = Agents {
        scheduler: Some(leadership.clone()),
        controllers: Some((options, leadership)),
        hollow: nodes.iter().zip(128..=255).map(|(name, at)| node(name, at)).collect(),
    };
    let until = async {
        // If signals cannot be had, only a kill ends this.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    run(client, agents, until).await?;
    Ok(())
}
