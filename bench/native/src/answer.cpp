#include "answer.h"

#include "errors.h"
#include "safetensors.h"

namespace edgeseg {
namespace {

constexpr size_t kGraphOutputs = 3;  // slot_map, slot_category, slot_score; else mask_logits, class_logits

// Without the batch of one.
View first_of_batch(const View& view, Dtype dtype, size_t rank) {
  if (view.dtype != dtype || view.shape.size() != rank + 1 || view.shape[0] != 1) {
    throw Failure("an output is " + describe(view) + ", as no deployed graph gives it");
  }
  return {view.dtype, {view.shape.begin() + 1, view.shape.end()}, view.data};
}

Merged copied(const std::vector<View>& outputs) {
  const View map = first_of_batch(outputs[0], Dtype::kUint8, 2);
  const View category = first_of_batch(outputs[1], Dtype::kInt32, 1);
  const View score = first_of_batch(outputs[2], Dtype::kFloat32, 1);
  return {map.shape[0],
          map.shape[1],
          {map.as<uint8_t>(), map.as<uint8_t>() + map.size()},
          {category.as<int32_t>(), category.as<int32_t>() + category.size()},
          {score.as<float>(), score.as<float>() + score.size()}};
}

template <typename T>
void append(std::vector<T>& all, const std::vector<T>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

}  // namespace

Merged Merger::operator()(const std::vector<View>& outputs) {
  if (outputs.size() == kGraphOutputs) return copied(outputs);
  if (!is_wanted(outputs)) throw Failure(std::to_string(outputs.size()) + " outputs, as no deployed graph gives them");
  if (!rule_) rule_ = read_merge_rule(artifact_);
  return merge_slots(first_of_batch(outputs[1], Dtype::kFloat32, 2), first_of_batch(outputs[0], Dtype::kFloat32, 3),
                     rule_->config, rule_->is_thing);
}

void answer_images(const Request& request, Engine& engine) {
  const SafetensorsFile file(request.images);
  const View& images = file.at("images");
  const std::vector<int64_t> expected = {images.shape.empty() ? 0 : images.shape[0], request.height, request.width, 3};
  if (images.dtype != Dtype::kUint8 || images.shape != expected) {
    throw BadInput(request.images + ": images are " + describe(images) + ", not uint8 (n, H, W, 3) of image_size");
  }
  Merger merge(request.path);
  Merged all{};  // of all images, one after the other
  for (int64_t i = 0; i < images.shape[0]; ++i) {
    const Merged one = merge(engine.run(images.as<uint8_t>() + i * request.height * request.width * 3));
    all.height = one.height;
    all.width = one.width;
    append(all.slot_map, one.slot_map);
    append(all.slot_category, one.slot_category);
    append(all.slot_score, one.slot_score);
  }
  const int64_t count = images.shape[0], num_slots = static_cast<int64_t>(all.slot_score.size()) / count;
  write_safetensors(request.answers,
                    {{"slot_map", {Dtype::kUint8, {count, all.height, all.width}, all.slot_map.data()}},
                     {"slot_category", {Dtype::kInt32, {count, num_slots}, all.slot_category.data()}},
                     {"slot_score", {Dtype::kFloat32, {count, num_slots}, all.slot_score.data()}}});
}

}  // namespace edgeseg
