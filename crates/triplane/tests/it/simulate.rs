//! `triplane simulate`: what operators get, and what they are told when they ask for what cannot be.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use triplane_testkit::TempDir;

const PLOTS: [&str; 6] = ["tradeoff", "cold-starts", "waiting", "memory", "nodes", "fragmentation"];

fn simulate(home: &TempDir, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_triplane"));
    command.arg("simulate").args(arguments.split_whitespace()).current_dir(home.path()).output().unwrap()
}

/// What a command printed that went well.
fn printed(home: &TempDir, arguments: &str) -> String {
    let output = simulate(home, arguments);
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a command said that failed.
fn refused(home: &TempDir, arguments: &str) -> String {
    let output = simulate(home, arguments);
    assert!(!output.status.success(), "{arguments} should fail");
    String::from_utf8(output.stderr).unwrap()
}

fn home(trace: &str) -> TempDir {
    let home = TempDir::new("simulate");
    let header = "arrival_s,action,duration_s,cold_start_s,memory_mb";
    std::fs::write(home.join("calls.csv"), format!("{header}\n{trace}")).unwrap();
    home
}

/// That every element of an XML text ends in its turn.
fn assert_well_formed(xml: &str, name: &Path) {
    let (mut open, mut rest) = (Vec::new(), xml);
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').expect("a tag ends");
        rest = after;
        let element = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(element), "{}", name.display());
        } else if !tag.starts_with('?') && !tag.ends_with('/') {
            open.push(element);
        }
    }
    assert!(open.is_empty(), "{}: {open:?} never end", name.display());
}

#[test]
fn a_trace_is_replayed_by_each_policy() {
    let home = home("0,/guest/a,2,1,256\n100,/guest/a,2,1,256\n101,/guest/b,1,1,512\n");
    let table = printed(
        &home,
        "--trace calls.csv --nodes 1 --node-memory-mb 1024 --collector fixed:idle_ms=30000,fixed",
    );
    let rows: Vec<Vec<&str>> = table.lines().skip(3).map(|line| line.split_whitespace().collect()).collect();
    assert!(
        table.starts_with("calls.csv: 3 calls of 2 actions in 0.0 hours; 1 nodes of 1024 MB, 1 routers\n"),
        "{table}"
    );
    let cold: Vec<(&str, &str)> = rows.iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(
        cold,
        [("fixed:idle_ms=30000", "3"), ("fixed", "2")],
        "a minute and a half is longer than 30 s"
    );
}

#[test]
fn what_is_left_to_gain_is_shown_by_one_who_knows_the_trace() {
    let home = home("0,a,2,1,256\n600,a,1,1,256\n1200,a,1,1,256\n");
    let json = printed(&home, "--trace calls.csv --collector fixed:idle_ms=60000,clairvoyant --json");
    let json: Value = serde_json::from_str(&json).unwrap();
    let cold = |index: usize| json["policies"][index]["calls"]["cold"].as_u64();
    assert_eq!((cold(0), cold(1)), (Some(3), Some(1)));
}

#[test]
fn equal_seeds_print_equal_json_and_files() {
    let home = home("");
    let load = "--seed 3 --hours 1 --actions 20 --hottest 20000 --nodes 3 --json";
    let first = printed(&home, &format!("{load} --report a.html --plots a"));
    let second = printed(&home, &format!("{load} --report b.html --plots b"));
    assert_eq!(first, second);
    let report: Value = serde_json::from_str(&first).unwrap();
    assert!(report["policies"][0]["calls"]["ran"].as_u64() > Some(100), "{report}");
    let read = |name: String| std::fs::read_to_string(home.join(&*name)).unwrap();
    assert_eq!(read("a.html".to_owned()), read("b.html".to_owned()));
    for plot in PLOTS {
        let drawn = read(format!("a/{plot}.svg"));
        assert_eq!(drawn, read(format!("b/{plot}.svg")));
        assert_well_formed(&drawn, Path::new(plot));
    }
    let page = read("a.html".to_owned());
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("<svg ").count(), PLOTS.len());
}

#[test]
fn what_is_saved_replays_like_what_was_generated() {
    let home = home("");
    let load = "--seed 5 --hours 1 --actions 10 --hottest 5000";
    printed(&home, &format!("{load} --save saved.csv"));
    let policies = |arguments: &str| {
        let report: Value = serde_json::from_str(&printed(&home, arguments)).unwrap();
        report["policies"][0]["calls"].clone()
    };
    assert_eq!(policies(&format!("{load} --json")), policies("--trace saved.csv --json"));
}

#[test]
fn the_fewest_nodes_for_a_target_are_found() {
    let calls: String = (0..6).map(|number| format!("0,a{number},20,1,256\n")).collect();
    let home = home(&calls);
    let pool = "--trace calls.csv --node-memory-mb 1024";
    let table = printed(&home, &format!("{pool} --nodes 1..9 --wait-p99 2000"));
    assert!(table.lines().last().unwrap().starts_with("fixed   2 "), "{table}");
    let said = refused(&home, &format!("{pool} --nodes 1..1 --wait-p99 2000"));
    assert!(said.contains("a target is looked for in a range of nodes"), "{said}");
    let said = refused(&home, &format!("{pool} --nodes 1..3 --cold-rate 50"));
    assert!(said.contains("no policy reaches the target with 3 nodes"), "{said}");
}

#[test]
fn what_is_wrong_is_said_and_where() {
    let home = home("0,a,1,1,128\n1,a,often,1,128\n");
    let said = refused(&home, "--trace calls.csv");
    assert!(said.contains("line 3: the duration is no number: 'often'"), "{said}");
    assert!(refused(&home, "--trace nowhere.csv").contains("nowhere.csv cannot be replayed"));
    assert!(refused(&home, "--collector magic").contains("there is no collector 'magic'"));
    assert!(refused(&home, "--nodes 1..5").contains("--wait-p99 MS or --cold-rate PERCENT"));
}

#[test]
fn containers_are_shown_at_any_time() {
    let home = home("0.5,/guest/a,3,1,256\n20,/guest/b,1,1,128\n");
    let pool = "map --trace calls.csv --nodes 2 --node-memory-mb 1024";
    let text = printed(&home, &format!("{pool} --at 00:00:02,21s"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "calls.csv at 00:00:02, by fixed: 1 containers on 1 of 2 nodes");
    assert!(lines[3].starts_with("0     256 of 1024 MB  /guest/a  256 MB  1"), "{text}");
    assert!(lines[5].starts_with("calls.csv at 00:00:21, by fixed: 2 containers"), "{text}");
    let json: Value = serde_json::from_str(&printed(&home, &format!("{pool} --at 1499ms --json"))).unwrap();
    let expected = serde_json::json!([{"action": "/guest/a", "memory_mb": 256, "state": "starting"}]);
    assert_eq!((&json[0]["at_ms"], &json[0]["nodes"][0]["containers"]), (&1499.into(), &expected));
    assert_eq!(json[0]["nodes"][1]["containers"], serde_json::json!([]));
    let said = refused(&home, &format!("{pool} --at 1h"));
    assert!(said.contains("there is no map at 01:00:00: the load is over at 00:00:21"), "{said}");
    assert!(refused(&home, &format!("{pool} --at 90")).contains("a number with its unit"));
    assert!(refused(&home, "map --at 1s --nodes 1..3").contains("a map is of one number of nodes"));
}

#[test]
fn the_maps_of_the_page_are_of_a_part_of_the_load() {
    let home = home("0.5,a,3,1,256\n20,b,1,1,128\n");
    printed(&home, "--trace calls.csv --report r.html --map-from 1s --map-to 2s");
    let page = std::fs::read_to_string(home.join("r.html")).unwrap();
    let times: Vec<u64> = page
        .split("\"at_ms\":")
        .skip(1)
        .map(|rest| rest[..rest.find([',', '}']).unwrap()].parse().unwrap())
        .collect();
    assert!(times.len() > 50 && times.iter().all(|at_ms| (1_000..=2_000).contains(at_ms)), "{times:?}");
    let said = refused(&home, "--trace calls.csv --report r.html --map-from 1h --map-to 2h");
    assert!(said.contains("the page has no maps: calls.csv is over before 01:00:00"), "{said}");
    assert!(refused(&home, "--report r.html --map-from 2s --map-to 1s").contains("is before --map-from"));
}

#[test]
fn what_cannot_be_written_is_said_before_the_replay_and_what_was_found_is_printed_before_it_is_written() {
    let home = home("0,a,1,1,128\n");
    let output = simulate(&home, "--trace calls.csv --report nowhere/x.html");
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot write nowhere/x.html") && !said.contains("events in"), "{said}");
    assert!(refused(&home, "--trace calls.csv --report .").contains("it is a directory"));
}

#[test]
fn calls_that_can_run_nowhere_are_no_success_of_a_policy() {
    let home = home("0,/guest/big,1,1,4096\n1,/guest/big,1,1,4096\n");
    let pool = "--trace calls.csv --nodes 1 --node-memory-mb 2048";
    let text = printed(&home, pool);
    assert!(text.contains("none ran") && text.contains("2 (100.000 %)"), "{text}");
    let said = "2 of 2 calls can run on no node, whatever the policy: their actions need more memory than the 2048 MB of a node: \
                /guest/big (4096 MB)";
    assert!(text.contains(said), "{text}");
    let said = refused(&home, "--trace calls.csv --node-memory-mb 2048 --nodes 1..9 --wait-p99 500");
    assert!(
        said.contains("no number of nodes reaches the target: 2 calls are of actions that need more"),
        "{said}"
    );
}

#[test]
fn collectors_are_shown_side_by_side() {
    let home = home("");
    let json: Value = serde_json::from_str(&printed(&home, "collectors --plots plots --json")).unwrap();
    for collector in ["fixed", "lru", "greedy-dual", "histogram", "compacting"] {
        assert!(json[collector]["calls"]["ran"].as_u64() > Some(1_000), "{collector}: {json}");
        let plot = format!("plots/collector-{collector}.svg");
        assert_well_formed(&std::fs::read_to_string(home.join(&*plot)).unwrap(), Path::new(&plot));
    }
    assert!(printed(&home, "collectors").starts_with("a day of eight actions on 3 nodes of 1280 MB"));
}

#[test]
fn placement_strategies_are_shown_side_by_side() {
    let home = home("");
    let json: Value = serde_json::from_str(&printed(&home, "placement --plots plots --json")).unwrap();
    for strategy in ["pack", "spread", "balanced", "fragmentation", "locality", "gpu"] {
        assert!(json[strategy]["nodes"].as_f64() > Some(0.0), "{strategy}: {json}");
        let plot = format!("plots/placement-{strategy}.svg");
        assert_well_formed(&std::fs::read_to_string(home.join(&*plot)).unwrap(), Path::new(&plot));
    }
    let table = printed(&home, "placement");
    assert!(table.starts_with("a day of mixed demand on 16 nodes of 8192 MB and 4 CPUs"), "{table}");
    assert_eq!(table.lines().filter(|line| line.contains(" %")).count(), 6, "{table}");
}

#[test]
fn seeds_and_faults_are_simulated_as_well_and_what_went_wrong_is_counted() {
    let home = home("");
    for (arguments, fault) in [
        ("pool --seed 3 --seeds 2 --calls 50", "MessageLost"),
        ("queue --seed 3 --seeds 2 --calls 50", "message lost"),
        ("limits --seed 3 --seeds 2", "message lost"),
    ] {
        let printed = printed(&home, arguments);
        let (runs, counts) = printed.split_once("\n\n").unwrap();
        assert!(runs.lines().all(|line| line.starts_with("seed ")) && runs.lines().count() == 2, "{printed}");
        let times =
            counts.lines().find_map(|line| line.strip_prefix(fault)).unwrap_or_else(|| panic!("{printed}"));
        assert!(times.trim().parse::<u64>().unwrap() > 0, "{printed}");
    }
    for nothing in ["pool --seeds 0", "pool --calls 0", "queue --calls 0", "limits --seeds 0"] {
        assert!(refused(&home, nothing).contains("0 is not in 1.."), "{nothing}");
    }
}

#[test]
fn a_script_of_a_run_is_repeated() {
    let home = home("");
    let script = home.join("script");
    std::fs::write(&script, "seed 3 calls 20 MessageLost#3 NodeLost#2\n").unwrap();
    let printed = printed(&home, "pool --script script");
    assert!(printed.starts_with("seed 3: "), "{printed}");
    let times = |fault| printed.lines().find_map(|line| line.strip_prefix(fault)).map(str::trim);
    assert_eq!(
        (times("MessageLost"), times("NodeLost"), times("RouterLost")),
        (Some("1"), Some("1"), Some("0"))
    );
    assert!(refused(&home, "pool --script nowhere").contains("cannot read the script nowhere"));
}
