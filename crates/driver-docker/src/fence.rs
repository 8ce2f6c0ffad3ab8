//! Keeps containers away from this machine's own ports, but for the platform's API, and from each other: rules for all bridges
//! of this platform that come before the engine's and are loaded once.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use triplane_net::nft;

use crate::networks::OPEN;
use crate::options::Api;

/// How long `nft` may take.
const WITHIN: Duration = Duration::from_secs(10);

/// The rules of a platform, while they are in force.
#[derive(Debug)]
pub(crate) struct Fence {
    nft: PathBuf,
    table: String,
}

impl Fence {
    /// Puts the rules in force, in place of those that a platform left that was killed.
    pub(crate) async fn put_up(instance: &str, bridges: &str, api: &Api) -> Result<Self, String> {
        let nft = nft::find().ok_or("nft is not installed (Debian package nftables)")?;
        let table = format!("triplane_docker_{instance}");
        run(nft.clone(), rules(&table, bridges, api)).await?;
        Ok(Self { nft, table })
    }

    /// Removes the rules; no container may be left.
    pub(crate) async fn take_down(&self) {
        let commands = format!("add table ip {0}\ndelete table ip {0}\n", self.table);
        if let Err(error) = run(self.nft.clone(), commands).await {
            tracing::warn!(%error, table = self.table, "firewall table is left");
        }
    }
}

/// What `nft` is told. Answers to the platform's own connections pass; to the machine only the API's port does; of link-local
/// addresses, where clouds have their metadata, only name servers are reached. Nothing passes from a bridge to one: the
/// engine's own rules, which say the same, come and go with each bridge.
fn rules(table: &str, bridges: &str, api: &Api) -> String {
    let to_api =
        to_api(api).map(|rule| format!("iifname \"{bridges}{OPEN}*\" {rule} accept\n")).unwrap_or_default();
    format!(
        "add table ip {table}\n\
         delete table ip {table}\n\
         table ip {table} {{\n\
         chain refuse {{\nmeta l4proto tcp reject with tcp reset\nreject with icmp type admin-prohibited\n}}\n\
         chain before {{ type filter hook prerouting priority -150; policy accept;\n\
         iifname != \"{bridges}*\" accept\n\
         ct state established,related accept\n\
         {to_api}\
         fib daddr type != unicast goto refuse\n\
         ip daddr 169.254.0.0/16 meta l4proto {{ tcp, udp }} th dport 53 accept\n\
         ip daddr 169.254.0.0/16 goto refuse\n\
         }}\n\
         chain between {{ type filter hook forward priority -1; policy accept;\n\
         iifname \"{bridges}*\" oifname \"{bridges}*\" drop\n\
         }}\n\
         }}\n"
    )
}

/// What is on its way to the API. A listener on one address is carried to each bridge's own; one on all addresses is there
/// already; an address that the operator gave may be any of this machine's.
fn to_api(api: &Api) -> Option<String> {
    match api {
        Api::Listener(listen) if listen.ip().is_unspecified() => {
            Some(format!("fib daddr type local tcp dport {}", listen.port()))
        }
        Api::Listener(listen) => Some(format!("fib daddr . iif type local tcp dport {}", listen.port())),
        Api::Given(host) => {
            let uri: Uri = host.parse().ok()?;
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            Some(format!("fib daddr type local tcp dport {port}"))
        }
    }
}

/// Has `nft` carry out commands: all of them, or none.
async fn run(nft: PathBuf, commands: String) -> Result<(), String> {
    let work = tokio::task::spawn_blocking(move || nft::run(&nft, &commands));
    match tokio::time::timeout(WITHIN, work).await {
        Ok(Ok(result)) => result.map_err(|error| error.to_string()),
        Ok(Err(_)) => Err("nft was not run".to_owned()),
        Err(_) => Err(format!("nft took longer than {} s", WITHIN.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_apis_port_is_open() {
        let given = |host: &str| to_api(&Api::Given(host.to_owned())).unwrap();
        assert_eq!(given("https://ow.example.org"), "fib daddr type local tcp dport 443");
        assert_eq!(given("http://192.0.2.1:3233"), "fib daddr type local tcp dport 3233");
        let listener = |address: &str| to_api(&Api::Listener(address.parse().unwrap())).unwrap();
        assert_eq!(listener("127.0.0.1:3233"), "fib daddr . iif type local tcp dport 3233");
        assert_eq!(listener("0.0.0.0:3233"), "fib daddr type local tcp dport 3233");
        assert_eq!(to_api(&Api::Given("not an address".to_owned())), None);
    }

    #[test]
    fn the_rules_are_for_this_platforms_bridges_only() {
        let rules = rules("t", "tp123456", &Api::Listener("127.0.0.1:1".parse().unwrap()));
        assert!(rules.contains("iifname != \"tp123456*\" accept\nct state established"), "{rules}");
        assert!(rules.find("dport 1 accept").unwrap() < rules.find("!= unicast goto refuse").unwrap());
        assert!(rules.contains("iifname \"tp123456*\" oifname \"tp123456*\" drop"), "{rules}");
    }
}
