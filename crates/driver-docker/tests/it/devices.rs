//! Devices of the machine that containers are given.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use triplane_control::driver::{Driver, StartError};
use triplane_core::placement::{Gpus, Resource};
use triplane_driver_docker::{Device, Devices};
use triplane_model::{Action, Parameters};

use crate::world::{World, soon, with_engine};

const FPGA: &str = "example.com/fpga";

/// Device nodes by names that no container has: those of `/dev/null`. Removed when this is dropped.
struct Nodes(PathBuf);

impl Nodes {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("triplane-devices-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn make(&self, name: &str) -> String {
        let path = self.0.join(name).to_string_lossy().into_owned();
        let made = Command::new("mknod").args([&path, "c", "1", "3"]).status().unwrap();
        assert!(made.success());
        path
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn asks_for(resources: &str) -> impl FnOnce(&mut Action) {
    let annotations: Parameters =
        serde_json::from_str(&format!(r#"[{{"key":"resources","value":{resources}}}]"#)).unwrap();
    |action| action.annotations = annotations
}

#[test]
fn a_container_is_given_the_devices_that_it_asks_for_and_no_others() {
    with_engine(|engine| async move {
        let nodes = Nodes::new();
        let [gpu, other, fpga] = ["gpu0", "gpu1", "fpga0"].map(|name| nodes.make(name));
        let unit = |path: &str| vec![Device::Node(path.to_owned())];
        let gpus = vec![unit(&gpu), unit(&other)];
        let devices = Devices { gpus, named: [(FPGA.to_owned(), vec![unit(&fpga)])].into() };
        let world = World::with(engine, |options| options.devices = devices).await;
        let ask = || asks_for(r#"{"gpu": 1, "example.com/fpga": 1}"#);
        let container = world.start_with("code", Gpus::whole(&[1]), ask()).await.unwrap();
        for (path, given) in [(&gpu, false), (&other, true), (&fpga, true)] {
            let result = container.call(&json!({"do": "open", "path": path})).await.result();
            assert_eq!(result, json!({ "opened": given }), "{path}");
        }
        let refused = world.start_with("code", Gpus::whole(&[0]), ask()).await.err().unwrap().to_string();
        assert!(refused.contains("example.com/fpga is promised to a container"), "{refused}");
        soon(world.docker.stop(container.id)).await;
        let next = world.start_with("code", Gpus::whole(&[0]), ask()).await.unwrap();
        let result = next.call(&json!({"do": "open", "path": fpga})).await.result();
        assert_eq!(result, json!({"opened": true}), "it was given back");
        world.stop().await;
    });
}

#[test]
fn a_device_that_is_not_there_is_the_platforms_fault() {
    with_engine(|engine| async move {
        let gone = Device::Node("/dev/triplane-gone".to_owned());
        let engines = Device::EngineGpu("0".to_owned());
        let world =
            World::with(engine, |options| options.devices.gpus = vec![vec![gone], vec![engines]]).await;
        for (gpu, says) in [(0, "/dev/triplane-gone"), (1, "could not select device driver")] {
            let refused = world.start_with("code", Gpus::whole(&[gpu]), asks_for(r#"{"gpu": 1}"#)).await;
            match refused.err() {
                Some(StartError::Sandbox(reason)) => assert!(reason.contains(says), "{reason}"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(world.containers(), [] as [String; 0], "nothing is left of them");
        world.stop().await;
    });
}

#[test]
fn cpu_that_is_reserved_is_offered_and_weighs_as_much() {
    with_engine(|engine| async move {
        let world = World::new(engine).await;
        let offered = world.docker.nodes()[0].offer.capacity.resources.get(Resource::Cpu);
        assert!(offered >= 1000, "the machine's");
        let container = world.start("code", asks_for(r#"{"cpu": "2"}"#)).await;
        assert_eq!(container.inspect("{{.HostConfig.CpuShares}}"), "4096");
        world.stop().await;
    });
}
