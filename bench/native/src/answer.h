// Images to merged slots.
#pragma once

#include "engine.h"
#include "merge.h"
#include "records.h"

namespace edgeseg {

// Brings an artifact's outputs into the form of the merge in the graph: merges where the file leaves it to the app, by
// the bundle.json beside it, which is read when a merge is first wanted.
class Merger {
 public:
  explicit Merger(std::string artifact) : artifact_(std::move(artifact)) {}

  // Throws Failure where the outputs are not those of a deployed graph, BadInput as read_merge_rule.
  Merged operator()(const std::vector<View>& outputs);

  // Whether the outputs wait for a merge.
  static bool is_wanted(const std::vector<View>& outputs) { return outputs.size() == 2; }

 private:
  std::string artifact_;
  std::optional<MergeRule> rule_;
};

// Runs request.images one by one and writes request.answers.
void answer_images(const Request& request, Engine& engine);

}  // namespace edgeseg
