/// The segments as COCO panoptic JSON for one photo, image id 1.
///
/// - Parameter name: File name without its ending: the JSON speaks of NAME.jpg, and of NAME.png with ``Panoptic/idPixels()``.
public func cocoPanoptic(_ panoptic: Panoptic, name: String) -> JSON {
    let photo = panoptic.placement.photo
    return .object([
        "images": .list([
            .object([
                "id": 1, "file_name": .text("\(name).jpg"), "height": .number(photo.height), "width": .number(photo.width),
            ])
        ]),
        "annotations": .list([
            .object([
                "image_id": 1, "file_name": .text("\(name).png"),
                "segments_info": .list(panoptic.segments.map(describe)),
            ])
        ]),
        "categories": .list(panoptic.categories.map(describe)),
    ])
}

private func describe(_ segment: Segment) -> JSON {
    var entry: [String: JSON] = [
        "id": .number(segment.id), "category_id": .number(segment.category.id), "area": .number(segment.area),
        "bbox": .numbers(segment.bbox), "iscrowd": 0,
    ]
    // The shortest digits of the float: 0.9, not 0.8999999761581421.
    if segment.score != 1 { entry["score"] = .number(Double("\(segment.score)") ?? Double(segment.score)) }
    return .object(entry)
}

private func describe(_ category: PanopticCategory) -> JSON {
    .object([
        "id": .number(category.id), "name": .text(category.name), "supercategory": .text(category.name),
        "isthing": category.isThing ? 1 : 0,
        "color": .numbers([red(category.color), green(category.color), blue(category.color)]),
    ])
}
