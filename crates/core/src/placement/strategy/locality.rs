//! A node that has the code already, else one that has the image, else the best fit: a start there fetches and unpacks
//! nothing.
//!
//! Source: Kubernetes' `ImageLocality`; "Delay Scheduling", EuroSys 2010, for why a start where the data is is worth more than an
//! even load.

use super::{Candidate, Cost, Look, Strategy};

#[derive(Debug)]
pub(super) struct Locality;

impl Strategy for Locality {
    fn look(&self) -> Look {
        Look { tightest: 6, calmest: 0, holders: 32, random: 4 }
    }

    fn cost(&self, candidate: &Candidate<'_>) -> Cost {
        let Candidate { node, request, .. } = candidate;
        let has_image = || request.image.is_some_and(|image| node.caches(image));
        let lacks = match node.caches(request.code) {
            true => 0,
            false if has_image() => 1,
            false => 2,
        };
        Cost([lacks, candidate.free_memory(), 0])
    }
}

#[cfg(test)]
mod tests {
    use crate::placement::fixture::{Table, node, request};

    #[test]
    fn the_code_decides_then_the_image_then_the_fit() {
        let table = Table::of("locality", [node(1024), node(2048), node(512)]);
        table.cached(1, "code-a").cached(0, "image-a").chooses(&[
            (request(256).code("code-a").image("image-a"), Some(1)),
            (request(256).code("code-b").image("image-a"), Some(0)),
            (request(256).code("code-b").image("image-b"), Some(2)),
        ]);
    }

    #[test]
    fn a_node_without_room_is_no_help() {
        let table = Table::of("locality", [node(1024), node(200)]).cached(1, "code-a");
        table.chooses(&[(request(256).code("code-a"), Some(0))]);
    }

    #[test]
    fn what_was_started_is_remembered() {
        let table = Table::of("locality", [node(300), node(2048)]);
        table
            .with(1, request(512).code("code-a"))
            .chooses(&[(request(256).code("code-a"), Some(1)), (request(256).code("code-b"), Some(0))]);
    }
}
