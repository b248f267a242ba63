#include "records.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "errors.h"
#include "files.h"

namespace edgeseg {
namespace {

using nlohmann::json;

json read_json(const std::string& path) {
  const json table = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!table.is_object()) throw BadInput(path + " is no JSON object");
  return table;
}

void require(bool is_right, const std::string& where, const char* key, const char* rule) {
  if (!is_right) throw BadInput(where + ": \"" + key + "\" must be " + rule);
}

int64_t whole(const json& table, const char* key, int64_t least, const char* rule, const std::string& where) {
  const json value = table.value(key, json());
  require(value.is_number_integer() && value >= least && value <= std::numeric_limits<int32_t>::max(), where, key,
          rule);
  return value;
}

std::string text(const json& table, const char* key, const std::string& where) {
  const json value = table.value(key, json(""));
  require(value.is_string(), where, key, "a string");
  return value;
}

float share(const json& table, const char* key, const std::string& where) {
  const json value = table.value(key, json());
  require(value.is_number() && value >= 0 && value <= 1, where, key, "a number from 0 to 1");
  return value;
}

void require_known(const json& table, const std::string& where) {
  constexpr std::array kKeys = {"runtime", "path", "image_size", "threads", "seconds", "seed", "images", "answers"};
  for (const auto& [key, value] : table.items()) {
    if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end())
      throw BadInput(where + ": unknown key \"" + key + "\"");
  }
}

}  // namespace

Request read_request(const std::string& path) {
  const json table = read_json(path);
  require_known(table, path);
  const json size = table.value("image_size", json());
  const auto is_side = [](const json& side) { return side.is_number_integer() && side > 0 && side <= 65536; };
  require(size.is_array() && size.size() == 2 && is_side(size[0]) && is_side(size[1]), path, "image_size",
          "[height, width]");
  const json seconds = table.value("seconds", json());
  require(seconds.is_number() && seconds > 0, path, "seconds", "a number above 0");
  Request request{text(table, "runtime", path),
                  text(table, "path", path),
                  size[0],
                  size[1],
                  static_cast<int>(whole(table, "threads", 1, "a whole number from 1", path)),
                  seconds,
                  static_cast<uint64_t>(whole(table, "seed", 0, "a whole number from 0", path)),
                  text(table, "images", path),
                  text(table, "answers", path)};
  require(request.images.empty() == request.answers.empty(), path, "answers", "given with \"images\", and only then");
  if (!std::filesystem::is_regular_file(request.path)) throw BadInput("no file " + request.path);
  return request;
}

void write_result(const std::string& path, const Result& result) {
  const auto maybe = [](const std::optional<double>& value) { return value ? json(*value) : json(); };
  const json split = {{"letterbox_ms", maybe(result.split.letterbox_ms)},
                      {"upload_ms", maybe(result.split.upload_ms)},
                      {"network_ms", maybe(result.split.network_ms)},
                      {"readout_ms", maybe(result.split.readout_ms)},
                      {"merge_ms", maybe(result.split.merge_ms)}};
  const json table = {{"samples_ms", result.stretch.samples_ms},
                      {"warmup_runs", result.warmup.runs},
                      {"is_settled", result.warmup.is_settled},
                      {"load_ms", result.load_ms},
                      {"peak_mib", result.peak_mib},
                      {"rss_delta_mib", result.rss_delta_mib},
                      {"version", result.version},
                      {"accelerator", result.accelerator},
                      {"loop_ms", result.stretch.loop_ms},
                      {"calls_per_second", result.stretch.calls_per_second},
                      {"split", split},
                      {"cpus", result.cpus}};
  write_file(path, table.dump());
}

MergeRule read_merge_rule(const std::string& artifact) {
  const std::string path = std::filesystem::path(artifact).replace_filename("bundle.json").string();
  const json table = read_json(path);
  const json merge = table.value("merge", json::object());
  const json categories = table.value("categories", json::array());
  require(merge.is_object(), path, "merge", "an object");
  require(categories.is_array() && !categories.empty(), path, "categories", "a list");
  const int upsample = static_cast<int>(whole(merge, "upsample", 1, "1, 2 or 4", path));
  require(upsample == 1 || upsample == 2 || upsample == 4, path, "upsample", "1, 2 or 4");
  MergeRule rule{{share(merge, "thing_threshold", path), share(merge, "stuff_threshold", path),
                  static_cast<int>(whole(merge, "min_area", 0, "a whole number from 0", path)), upsample},
                 {}};
  for (const json& category : categories) {
    const bool is_right = category.is_object() && category.value("is_thing", json()).is_boolean() &&
                          category.value("index", json()) == rule.is_thing.size();
    require(is_right, path, "categories", "listed by index with is_thing");
    rule.is_thing.push_back(category["is_thing"]);
  }
  return rule;
}

}  // namespace edgeseg
