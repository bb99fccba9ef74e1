//! jls(8): the jails of the simulated kernel.

use anyhow::{Result, bail};
use thinjail::system::kernel::simulated::SimulatedJail;

use crate::Reply;
use crate::getopt::getopt;
use crate::host::Host;
use crate::jail::noted_params;
use crate::simulated::{kernel, noted};

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let (json, args) = match args {
        [libxo, json, rest @ ..] if libxo == "--libxo" && json == "json" => (true, rest),
        args => (false, args),
    };
    let Ok((options, params)) = getopt(args, "cdj:Nnq") else {
        bail!("jls: only -c, -d, -j, -N, -n, -q and --libxo json are imitated");
    };
    let given = |letter| options.iter().any(|(found, _)| *found == letter);
    let state = kernel(host)?.state()?;
    let dying = given('d');
    let mut jails: Vec<&SimulatedJail> = state.jails.iter().filter(|jail| dying || !jail.dying).collect();
    if let Some((_, wanted)) = options.iter().find(|(letter, _)| *letter == 'j') {
        let is_it = |jail: &&SimulatedJail| jail.name == *wanted || jail.jid.to_string() == *wanted;
        // A running jail hides a dying one of its name.
        jails.sort_by_key(|jail| jail.dying);
        jails = jails.into_iter().find(is_it).into_iter().collect();
        if jails.is_empty() {
            let cause = if state.jails.iter().any(|jail| is_it(&jail)) { "is dying" } else { "not found" };
            if !given('c') {
                reply.complain(format!("jls: jail \"{wanted}\" {cause}"));
            }
            return Ok(1);
        }
    }
    if given('c') {
        return Ok(0);
    }
    let hostname = |jail: &SimulatedJail| noted(host, &format!("jail-{}", jail.jid)).unwrap_or_default();
    let path = |jail: &SimulatedJail| {
        let path = jail.path.display().to_string();
        host.inside(&path).unwrap_or(path)
    };
    if json {
        let one = |jail: &&SimulatedJail| {
            let (jid, hostname, path) = (jail.jid, hostname(jail), path(jail));
            format!("{{\"jid\":{jid},\"ipv4\":\"\",\"hostname\":\"{hostname}\",\"path\":\"{path}\"}}")
        };
        let list: Vec<String> = jails.iter().map(one).collect();
        let list = list.join(",");
        reply.say(format!("{{\"__version\": \"2\", \"jail-information\": {{\"jail\": [{list}]}}}}"));
        return Ok(0);
    }
    if params.is_empty() {
        let head = if given('N') { " JID            " } else { "   JID " };
        reply.say(format!("{head} IP Address      Hostname                      Path"));
        for jail in jails {
            let id = if given('N') { format!(" {:<15.15}", jail.name) } else { format!("{:>6} ", jail.jid) };
            reply.say(format!("{id} {:15} {:<29.29} {:.74}", "", hostname(jail), path(jail)));
        }
        return Ok(0);
    }
    for jail in jails {
        let mut values = Vec::new();
        for param in &params {
            let mut value = match param.as_str() {
                "jid" => jail.jid.to_string(),
                "name" => jail.name.clone(),
                "path" => path(jail),
                "host.hostname" => hostname(jail),
                "vnet" => "new".into(),
                "dying" => jail.dying.to_string(),
                name if name == "devfs_ruleset" || name.starts_with("meta.") || name.starts_with("env.") => {
                    let all = noted(host, &noted_params(jail.jid)).unwrap_or_default();
                    let value = all.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
                    value.unwrap_or(if name == "devfs_ruleset" { "0" } else { "" }).to_owned()
                }
                _ => {
                    reply.complain(format!("jls: unknown parameter: {param}"));
                    return Ok(1);
                }
            };
            if given('q') && (value.is_empty() || value.contains([' ', '"'])) {
                value = format!("\"{value}\"");
            }
            values.push(if given('n') { format!("{param}={value}") } else { value });
        }
        reply.say(values.join(" "));
    }
    Ok(0)
}
