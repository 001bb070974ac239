"""The commands of the program as methods. Written by make_commands.py; do not edit it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

class Commands:
    """Commands that read or write a store."""

    def _run(self, words: str, positional: Iterable[tuple[str, Any]] = (), options: Mapping[str, Any] | None = None) -> Any:
        raise NotImplementedError

    def ingest_images(
        self,
        directory: str | os.PathLike[str],
        *,
        labels: str | os.PathLike[str] | None = None,
        manifest: str | os.PathLike[str] | None = None,
        no_labels: bool = False,
        source: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        verify: bool = False,
        commit_rows: int | None = None,
    ) -> Any:
        """A directory of photos, with labels from folders, from a CSV file, from a manifest, or without labels.

        Args:
            directory: Directory, or prefix of a bucket, to search, including everything below it.
            labels: CSV file with columns 'file' (relative to DIRECTORY) and 'label', with one row per label.
            manifest: File of JSON lines with 'file' (relative to DIRECTORY), 'label' or 'labels', and whatever else is
                to go into images.attributes, such as a prompt. Only files that it names are taken.
            no_labels: Do not use folder names as labels.
            source: Purpose of the images: web or synthetic (to train heads on), target (to annotate) [default: web,
                with --no-labels target]
            dataset: Name of the data set [default: the directory's name]
            split: Split of the images: train, val, ...; for YOLO and VOC, which needs it, the one to read; for CVAT, in
                place of its subsets.
            verify: Decode every image instead of only its header; slower, but finds damaged pixel data.
            commit_rows: Commit after this many rows of images and annotations, or after 5 seconds; 8192 by default.

        >>> store.ingest_images("web/")
        >>> store.ingest_images("flat/", labels="labels.csv", source="synthetic")
        >>> store.ingest_images("made/", manifest="made/manifest.jsonl", source="synthetic")
        >>> store.ingest_images("s3://bucket/web/", dataset="web")
        >>> store.ingest_images("holiday/", no_labels=True, split="val")
        """
        return self._run("ingest images", [("directory", directory)], {"labels": labels, "manifest": manifest, "no-labels": no_labels, "source": source, "dataset": dataset, "split": split, "verify": verify, "commit-rows": commit_rows})

    def ingest_coco(
        self,
        annotations: str | os.PathLike[str],
        images: str | os.PathLike[str],
        *,
        source: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        verify: bool = False,
        commit_rows: int | None = None,
    ) -> Any:
        """COCO JSON with its images: polygons, RLE, crowds; ids and categories are kept.

        Args:
            annotations: The annotation file; it and the images may be in a bucket.
            images: The directory that its file names are relative to.
            source: Purpose of the images: web, synthetic or target; target by default.
            dataset: Name of the data set, and of the class set created from its categories; coco by default.
            split: Split of the images: train, val, ...; for YOLO and VOC, which needs it, the one to read; for CVAT, in
                place of its subsets.
            verify: Decode every image instead of only its header; slower, but finds damaged pixel data.
            commit_rows: Commit after this many rows of images and annotations, or after 5 seconds; 8192 by default.

        >>> store.ingest_coco(annotations="instances_val2017.json", images="val2017/", split="val")
        """
        return self._run("ingest coco", [], {"annotations": annotations, "images": images, "source": source, "dataset": dataset, "split": split, "verify": verify, "commit-rows": commit_rows})

    def ingest_voc(
        self,
        directory: str | os.PathLike[str],
        *,
        class_names: str | os.PathLike[str] | None = None,
        source: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        verify: bool = False,
        commit_rows: int | None = None,
    ) -> Any:
        """A PASCAL VOC directory: JPEGImages, SegmentationClass, SegmentationObject, ImageSets.

        Args:
            directory: The directory that holds JPEGImages.
            class_names: File with names of the label maps' indices 1, 2, ..., one per line [default: VOC's 20 classes]
            source: Purpose of the images: web, synthetic or target; target by default.
            dataset: Name of the data set, and of the class set created from its classes; voc by default.
            split: Split of the images: train, val, ...; for YOLO and VOC, which needs it, the one to read; for CVAT, in
                place of its subsets.
            verify: Decode every image instead of only its header; slower, but finds damaged pixel data.
            commit_rows: Commit after this many rows of images and annotations, or after 5 seconds; 8192 by default.

        >>> store.ingest_voc("VOCdevkit/VOC2012", split="val")
        """
        return self._run("ingest voc", [("directory", directory)], {"class-names": class_names, "source": source, "dataset": dataset, "split": split, "verify": verify, "commit-rows": commit_rows})

    def ingest_yolo(
        self,
        data: str | os.PathLike[str],
        *,
        outlines: Literal["edges", "pixels"] | None = None,
        source: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        verify: bool = False,
        commit_rows: int | None = None,
    ) -> Any:
        """A directory of Ultralytics' YOLO: data.yaml, images and labels, outlines or boxes.

        Without --split, every split is read that data.yaml names. A photo without a file of labels shows none of the
        classes.

        Args:
            data: The file data.yaml, or the directory that holds it.
            outlines: Where outlines run: edges (between pixels, as COCO's polygons) or pixels (through the outer
                pixels, as Ultralytics and OpenCV write them; no line is a box then); edges by default.
            source: Purpose of the images: web, synthetic or target; target by default.
            dataset: Name of the data set, and of the class set created from its classes; yolo by default.
            split: Split of the images: train, val, ...; for YOLO and VOC, which needs it, the one to read; for CVAT, in
                place of its subsets.
            verify: Decode every image instead of only its header; slower, but finds damaged pixel data.
            commit_rows: Commit after this many rows of images and annotations, or after 5 seconds; 8192 by default.

        >>> store.ingest_yolo("coco8-seg/", dataset="coco8")
        >>> store.ingest_yolo("crops.yaml", split="val", dataset="crops")
        >>> store.ingest_yolo("predicted/", outlines="pixels", dataset="predicted")
        """
        return self._run("ingest yolo", [("data", data)], {"outlines": outlines, "source": source, "dataset": dataset, "split": split, "verify": verify, "commit-rows": commit_rows})

    def ingest_cvat(
        self,
        annotations: str | os.PathLike[str],
        *,
        images: str | os.PathLike[str] | None = None,
        source: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        verify: bool = False,
        commit_rows: int | None = None,
    ) -> Any:
        """CVAT for images 1.1: annotations.xml and photos, unpacked; masks, polygons, boxes, ellipses, tags and
        attributes.

        Without --split, images have the subset that the file gives them. Shapes of one label that share a group are one
        object.

        Args:
            annotations: The file annotations.xml, or the directory that holds it.
            images: The directory of the photos [default: the folder 'images' beside the file, or else the file's own]
            source: Purpose of the images: web, synthetic or target; target by default.
            dataset: Name of the data set, and of the class set created from its labels; cvat by default.
            split: Split of the images: train, val, ...; for YOLO and VOC, which needs it, the one to read; for CVAT, in
                place of its subsets.
            verify: Decode every image instead of only its header; slower, but finds damaged pixel data.
            commit_rows: Commit after this many rows of images and annotations, or after 5 seconds; 8192 by default.

        >>> store.ingest_cvat("task_7/", dataset="reviewed")
        >>> store.ingest_cvat("annotations.xml", images="photos/", dataset="reviewed")
        """
        return self._run("ingest cvat", [("annotations", annotations)], {"images": images, "source": source, "dataset": dataset, "split": split, "verify": verify, "commit-rows": commit_rows})

    def ingest_label_studio(
        self,
        tasks: str | os.PathLike[str],
        images: str | os.PathLike[str],
        *,
        key: str | None = None,
        annotator: str | None = None,
        predictions: bool = False,
        source: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        verify: bool = False,
        commit_rows: int | None = None,
    ) -> Any:
        """Label Studio's export 'JSON': brush masks, polygons, rectangles, ellipses and choices of tasks with images.

        The photos of tasks are looked up by the ends of their addresses. Of several annotations of a task, one that is
        marked as ground truth or else the newest is read.

        Args:
            tasks: The file that Label Studio exported.
            images: The directory of the photos.
            key: Key of the photo's address in the data of a task [default: image, or the only text]
            annotator: Read the annotations of this person, by e-mail or number, or with --predictions those of this
                version.
            predictions: Read predictions instead of annotations.
            source: Purpose of the images: web, synthetic or target; target by default.
            dataset: Name of the data set, and of the class set created from its labels; label-studio by default.
            split: Split of the images: train, val, ...; for YOLO and VOC, which needs it, the one to read; for CVAT, in
                place of its subsets.
            verify: Decode every image instead of only its header; slower, but finds damaged pixel data.
            commit_rows: Commit after this many rows of images and annotations, or after 5 seconds; 8192 by default.

        >>> store.ingest_label_studio("project-1.json", images="photos/", dataset="reviewed")
        >>> store.ingest_label_studio("project-1.json", images="photos/", annotator="anna@example.org", dataset="anna")
        """
        return self._run("ingest label-studio", [("tasks", tasks)], {"images": images, "key": key, "annotator": annotator, "predictions": predictions, "source": source, "dataset": dataset, "split": split, "verify": verify, "commit-rows": commit_rows})

    def ingest_label_maps(
        self,
        images: str | os.PathLike[str],
        maps: str | os.PathLike[str],
        classes: str | os.PathLike[str],
        *,
        objects: bool = False,
        void: int | Iterable[int] | None = None,
        image_suffix: str | None = None,
        map_suffix: str | None = None,
        source: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        verify: bool = False,
        commit_rows: int | None = None,
    ) -> Any:
        """Label maps: photos, and PNGs or TIFFs whose values are classes (ADE20K) or classes and objects (Cityscapes).

        A map has the folders and the name of its photo, but for what --image-suffix and --map-suffix say. 0 is
        background, unless a class has it.

        Args:
            images: The directory of the photos.
            maps: The directory of the maps.
            classes: File of the classes: VALUE,NAME a line, or a name a line for 1, 2, ...
            objects: Values are class x 1000 + object; values below 1000 are classes.
            void: Values of pixels that no metric counts [default: 255 and 65535, unless classes have them]
            image_suffix: What names of photos have before their ending, and names of maps have not.
            map_suffix: What names of maps have before their ending, and names of photos have not.
            source: Purpose of the images: web, synthetic or target; target by default.
            dataset: Name of the data set, and of the class set created from its classes; label-maps by default.
            split: Split of the images: train, val, ...; for YOLO and VOC, which needs it, the one to read; for CVAT, in
                place of its subsets.
            verify: Decode every image instead of only its header; slower, but finds damaged pixel data.
            commit_rows: Commit after this many rows of images and annotations, or after 5 seconds; 8192 by default.

        >>> store.ingest_label_maps(images="images/validation", maps="annotations/validation", classes="objectInfo150.txt", dataset="ade20k")
        >>> store.ingest_label_maps(images="leftImg8bit/val", image_suffix="_leftImg8bit", maps="gtFine/val", map_suffix="_gtFine_instanceIds", classes="cityscapes.csv", objects=True, void=[0, 1, 2, 3, 4, 5, 6], dataset="cityscapes")
        """
        return self._run("ingest label-maps", [], {"images": images, "maps": maps, "classes": classes, "objects": objects, "void": void, "image-suffix": image_suffix, "map-suffix": map_suffix, "source": source, "dataset": dataset, "split": split, "verify": verify, "commit-rows": commit_rows})

    def collect_web(
        self,
        classes: str,
        *,
        per_class: int | None = None,
        out: str | os.PathLike[str] | None = None,
        source: Literal["openverse", "commons"] | Iterable[Literal["openverse", "commons"]] | None = None,
        urls: str | os.PathLike[str] | None = None,
        licence: str | None = None,
        contact: str | None = None,
        dry_run: bool = False,
        dataset: str | None = None,
        split: str | None = None,
        parallel: int | None = None,
        per_host: int | None = None,
        pause: float | None = None,
        timeout: float | None = None,
        max_megabytes: int | None = None,
        min_side: int | None = None,
        allow_private: str | Iterable[str] | None = None,
        openverse_url: str | None = None,
        commons_url: str | None = None,
    ) -> Any:
        """Photos from Openverse, Wikimedia Commons or a list of URLs, about 45 for each class.

        Args:
            classes: The classes: a class set of the store, or a .toml or .csv file of classes.
            per_class: Images of each class; 45 by default.
            out: Directory of the images.
            source: Where to search; may be given more than once [default: both, or none with --urls]
            urls: A file of URLs: .jsonl, or CSV with the columns url, label, licence.
            licence: Licences that images may have, with commas between them: cc0, pdm, by, by-sa, by-nc, by-nd,
                by-nc-sa, by-nc-nd; or any; cc0,pdm,by,by-sa by default.
            contact: An e-mail address or a page for the people who run the servers; Wikimedia asks for one.
            dry_run: Only ask how many images each source has; download nothing.
            dataset: Name of the data set [default: the directory's name]
            split: Split of the images.
            parallel: Downloads at a time; 8 by default.
            per_host: Requests to one host at a time; 2 by default.
            pause: Seconds between the beginnings of two requests to one host; 0.1 by default.
            timeout: Seconds that one request may take; 60 by default.
            max_megabytes: Limit on the size of a file, in megabytes; 30 by default.
            min_side: Least length of a photo's shorter side, in pixels; 256 by default.
            allow_private: A server inside your own network that may be asked; may be given more than once.
            openverse_url: Address of Openverse's API; https://api.openverse.org by default.
            commons_url: Address of the MediaWiki API of Commons, or of another wiki;
                https://commons.wikimedia.org/w/api.php by default.

        >>> store.collect_web(classes="pets.toml", contact="you@example.org", out="web/")
        >>> store.collect_web(classes="pets", per_class=100, source="commons", licence="cc0,by", out="web/")
        >>> store.collect_web(classes="pets", urls="list.csv", out="web/")
        >>> store.collect_web(classes="pets.toml", dry_run=True)
        """
        return self._run("collect web", [], {"classes": classes, "per-class": per_class, "out": out, "source": source, "urls": urls, "licence": licence, "contact": contact, "dry-run": dry_run, "dataset": dataset, "split": split, "parallel": parallel, "per-host": per_host, "pause": pause, "timeout": timeout, "max-megabytes": max_megabytes, "min-side": min_side, "allow-private": allow_private, "openverse-url": openverse_url, "commons-url": commons_url})

    def collect_synthetic(
        self,
        classes: str,
        out: str | os.PathLike[str],
        *,
        per_class: int | None = None,
        template: str | None = None,
        seed: int | None = None,
        manifest_only: bool = False,
        url: str | None = None,
        command: str | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        scenes: bool = False,
        dataset: str | None = None,
        split: str | None = None,
        parallel: int | None = None,
        timeout: float | None = None,
        negative_prompt: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        sampler: str | None = None,
        width: int | None = None,
        height: int | None = None,
        device: str | None = None,
    ) -> Any:
        """Images that a generator makes of prompts, 200 for each class.

        Args:
            classes: The classes: a class set of the store, or a .toml or .csv file of classes.
            per_class: Images of each class; 200 by default.
            out: Directory of the images.
            template: The prompt, with {} for the word; a photo of a {} by default.
            seed: Seed that the seeds of the images are derived from; 0 by default.
            manifest_only: Only write DIR/manifest.jsonl: a line per image with file, label, prompt and seed.
            url: A running Stable Diffusion server.
            command: A program that makes one image.
            checkpoint: A folder of Stable Diffusion v1, 2 or SD-Turbo as diffusers writes it, run by this program;
                needs a build with --features diffusion.
            scenes: Draw the demo's scenes: photos of one ball, crate, donut, leaf, starfish or tent.
            dataset: Name of the data set [default: the directory's name]
            split: Split of the images.
            parallel: Images that are made at a time; 2 by default.
            timeout: Seconds that one image may take; 600 by default.
            negative_prompt: With --url or --checkpoint: what images shall not show.
            steps: With --url or --checkpoint: steps of the sampler [default: the server's; with --checkpoint 50]
            guidance: With --url or --checkpoint: how closely images follow the prompt (cfg_scale) [default: the
                server's; with --checkpoint 7.5, and 0 for SD-Turbo]
            sampler: With --url: the sampler's name [default: the server's]
            width: With --url or --checkpoint: width of the images, in pixels; 512 by default.
            height: With --url or --checkpoint: height of the images, in pixels; 512 by default.
            device: With --checkpoint: cpu, cuda or cuda:N; cpu by default.

        >>> store.collect_synthetic(classes="pets.toml", url="http://127.0.0.1:7860", out="made/")
        >>> store.collect_synthetic(classes="pets", command="my-generator --prompt {prompt} --seed {seed} --out {out}", out="made/")
        >>> store.collect_synthetic(classes="pets", manifest_only=True, out="made/")
        >>> store.collect_synthetic(classes="pets", checkpoint="sd-turbo/", steps=1, guidance=0, out="made/")
        >>> store.collect_synthetic(classes="kinds.toml", scenes=True, per_class=30, out="made/")
        """
        return self._run("collect synthetic", [], {"classes": classes, "out": out, "per-class": per_class, "template": template, "seed": seed, "manifest-only": manifest_only, "url": url, "command": command, "checkpoint": checkpoint, "scenes": scenes, "dataset": dataset, "split": split, "parallel": parallel, "timeout": timeout, "negative-prompt": negative_prompt, "steps": steps, "guidance": guidance, "sampler": sampler, "width": width, "height": height, "device": device})

    def collect_mosaic(
        self,
        count: int,
        out: str | os.PathLike[str],
        *,
        where: str | None = None,
        side: int | None = None,
        seed: int | None = None,
        dataset: str | None = None,
        split: str | None = None,
    ) -> Any:
        """Images of 2 x 2 labelled images of the store, with all their labels.

        Args:
            count: Number of mosaics.
            out: Directory of the mosaics.
            where: Take images that satisfy this condition over the columns of images [default: those that are not
                targets]
            side: Side of each of the four images, in pixels; 512 by default.
            seed: Seed of the choice; 0 by default.
            dataset: Name of the data set [default: the directory's name]
            split: Split of the images.

        >>> store.collect_mosaic(count=200, where="source = 'synthetic'", out="mosaics/")
        >>> store.collect_mosaic(count=100, side=320, split="train", out="mosaics/")
        """
        return self._run("collect mosaic", [], {"count": count, "out": out, "where": where, "side": side, "seed": seed, "dataset": dataset, "split": split})

    def extract(
        self,
        checkpoint: str | os.PathLike[str],
        *,
        model_type: str | None = None,
        device: str | None = None,
        precision: str | None = None,
        where: str | None = None,
        limit: int | None = None,
        shard: str | None = None,
        images_at_once: int | None = None,
        commit_masks: int | None = None,
        vectors: str | Iterable[str] | None = None,
        keep_features: bool = False,
        cluster: str | None = None,
        chunk_images: int | None = None,
        dry_run: bool = False,
        points_per_side: int | None = None,
        points_per_batch: int | None = None,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        stability_score_offset: float | None = None,
        box_nms_thresh: float | None = None,
        crop_n_layers: int | None = None,
        crop_nms_thresh: float | None = None,
        crop_overlap_ratio: float | None = None,
        crop_n_points_downscale_factor: int | None = None,
        min_mask_region_area: int | None = None,
        tile: int | None = None,
        overlap: int | None = None,
        channels: str | None = None,
        percentiles: str | None = None,
        pixels: str | None = None,
        from_features: bool = False,
        mask_output: str | None = None,
    ) -> Any:
        """Run Segment Anything on all images that are not done yet, and store every mask with its embedding.

        After an interruption of any kind, a new run continues from the last commit. The defaults are GranSAM's: a 10 x
        10 grid of points, one mask per point, no filter.

        Args:
            checkpoint: Weights: a .pth of segment-anything or MobileSAM, a .pt of SAM 2, 2.1 or 3, a .pth of HQ-SAM,
                safetensors, or a Hugging Face folder.
            model_type: vit_b, vit_l, vit_h or vit_t, the same after hq_, sam2_hiera_ and tiny, small, base_plus or
                large, or sam3 [default: recognised from the weights]
            device: Device that the model runs on: cpu, or in a build with these features cuda:N, wgpu, tch:cpu,
                tch:cuda:N; cpu by default.
            precision: Number type that the model computes in: f32, bf16 or f16; the latter two are for GPUs; f32 by
                default.
            where: Choose images: SQL over the columns of 'images'.
            limit: Maximum number of images.
            shard: Part i of n of the images, with i counted from 0, for several processes or machines on one store.
            images_at_once: Number of images that go through the model at once, each on its own CPU thread. Memory grows
                with it [default: all threads for models of at most 512 pixels on the CPU, otherwise 1]
            commit_masks: Commit after this many masks, or after 20 seconds; 32768 by default.
            vectors: Vectors to keep besides the tokens, for nothing: neck (the image embedding averaged under each
                mask) and token (that of the mask's own output); 256 numbers each, as embedders sam_neck and sam_token.
            keep_features: Keep the features of the image encoder, too, so that people can add masks in 'grainstore
                review' at once: 2 MiB an image with Segment Anything, 8 with SAM 2, 10 with SAM 3, 6 with HQ-SAM.
            cluster: Have the work done by the executors of a cluster, known by its scheduler; the device is theirs.
                This process commits what they stage, and a run after an interruption of any kind goes on.
            chunk_images: Images of a task: what is lost when an executor dies, and the rows of a file; 64 by default.
            dry_run: Only print how many images are left to do.
            points_per_side: Points per side of the grid; 10 by default.
            points_per_batch: Points decoded at once; fewer need less memory; 64 by default.
            pred_iou_thresh: Drop masks with a predicted IoU at or below this; 0 keeps all; 0 by default.
            stability_score_thresh: Drop masks with a stability score below this; 0 keeps all; 0 by default.
            stability_score_offset: Shift of the threshold for the stability score, in logits; 1 by default.
            box_nms_thresh: Of two masks whose boxes have a higher IoU than this, drop the worse one; 1 keeps all; 1 by
                default.
            crop_n_layers: Layers of crops in addition to the complete image; layer n has 4^n crops; 0 by default.
            crop_nms_thresh: Same as --box-nms-thresh, between masks of different crops; 0.7 by default.
            crop_overlap_ratio: Overlap of crops, as a fraction of the image's short side; 0.3413333333333333 by
                default.
            crop_n_points_downscale_factor: In layer n, points per side are divided by this to the power of n; 1 by
                default.
            min_mask_region_area: Remove holes and islands of fewer pixels; 0 leaves masks unchanged; 0 by default.
            tile: Cut photos larger than this into tiles of this many pixels a side, with a grid of points in each, and
                join the masks of objects at seams. For photos of any size, up to 4 gigapixels [default: no tiles]
            overlap: Minimum overlap of neighbouring tiles, 1/16 to 1/2 of a tile [default: 1/8 of it]
            channels: Channels of photos, counted from 1: three for red, green and blue, or one for gray [default: the
                first three, or the first if there are fewer]
            percentiles: Percentiles of each channel of a photo that become black and white [default: 2,98 for samples
                that are neither 8 bits nor 16-bit gray or RGB, else no scaling]
            pixels: How photos become the model's input: sam, or medsam for weights of MedSAM [default: sam]; sam by
                default.
            from_features: Prompt the features that --keep-features kept with the same weights, which costs the decoder
                alone; photos of which none are kept are encoded, and their features are rounded to the same 16 bits.
            mask_output: Masks of the decoder to keep per point: best (of three), single, or all (three); best by
                default.

        >>> store.extract(checkpoint="sam_vit_b_01ec64.pth")
        >>> store.extract(checkpoint="sam_vit_b_01ec64.pth", where="split = 'val'", dry_run=True)
        >>> store.extract(checkpoint="sam_vit_b_01ec64.pth", vectors=["neck", "token"])
        >>> store.extract(checkpoint="sam_vit_b_01ec64.pth", keep_features=True)
        >>> store.extract(checkpoint="sam_vit_b_01ec64.pth", from_features=True, points_per_side=32)
        >>> store.extract(checkpoint="sam_vit_b_01ec64.pth", shard="0/2")
        >>> store.extract(checkpoint="sam_vit_b_01ec64.pth", cluster="10.0.0.1:50050")
        >>> store.extract(checkpoint="sam_vit_b_01ec64.pth", tile=1024)
        >>> store.extract(checkpoint="sam_vit_b_01ec64.pth", channels="4,3,2", percentiles="2,98")
        >>> store.extract(checkpoint="sam_vit_b_01ec64.pth", points_per_side=32, pred_iou_thresh=0.88, stability_score_thresh=0.95, box_nms_thresh=0.7, mask_output="all")
        """
        return self._run("extract", [], {"checkpoint": checkpoint, "model-type": model_type, "device": device, "precision": precision, "where": where, "limit": limit, "shard": shard, "images-at-once": images_at_once, "commit-masks": commit_masks, "vectors": vectors, "keep-features": keep_features, "cluster": cluster, "chunk-images": chunk_images, "dry-run": dry_run, "points-per-side": points_per_side, "points-per-batch": points_per_batch, "pred-iou-thresh": pred_iou_thresh, "stability-score-thresh": stability_score_thresh, "stability-score-offset": stability_score_offset, "box-nms-thresh": box_nms_thresh, "crop-n-layers": crop_n_layers, "crop-nms-thresh": crop_nms_thresh, "crop-overlap-ratio": crop_overlap_ratio, "crop-n-points-downscale-factor": crop_n_points_downscale_factor, "min-mask-region-area": min_mask_region_area, "tile": tile, "overlap": overlap, "channels": channels, "percentiles": percentiles, "pixels": pixels, "from-features": from_features, "mask-output": mask_output})

    def embed(
        self,
        checkpoint: str | os.PathLike[str],
        *,
        name: str | None = None,
        device: str | None = None,
        precision: str | None = None,
        extractor: str | None = None,
        where: str | None = None,
        limit: int | None = None,
        shard: str | None = None,
        batch: int | None = None,
        commit_vectors: int | None = None,
        cluster: str | None = None,
        chunk_images: int | None = None,
        dry_run: bool = False,
        pool: str | None = None,
        fit: str | None = None,
        background: str | None = None,
        context: float | None = None,
        image_size: int | None = None,
        activation: str | None = None,
        min_predicted_iou: float | None = None,
        min_stability_score: float | None = None,
    ) -> Any:
        """Run another model over the masks of all images that are not done yet, and store a vector per mask.

        Models: EfficientNet-Lite0, DINOv2 (S, B, L, with and without registers), and CLIP from open_clip or Hugging
        Face. The masks may be of any extractor: Segment Anything's, or imported ones. After an interruption of any
        kind, a new run continues from the last commit. In SQL, the vectors are the table vectors.NAME.

        Args:
            checkpoint: Weights: a .pth, .pt or .safetensors file, or a Hugging Face folder.
            name: Name of the embedder, and of its table in SQL [default: that of the model, such as dinov2_vitb14]
            device: Device that the model runs on: cpu, or in a build with these features cuda:N, wgpu, tch:cpu,
                tch:cuda:N; cpu by default.
            precision: Number type that the model computes in: f32, bf16 or f16; the latter two are for GPUs; f32 by
                default.
            extractor: First digits of the id of the extractor whose masks to embed; needed if there are several.
            where: Choose images: SQL over the columns of 'images'.
            limit: Maximum number of images.
            shard: Part i of n of the images, with i counted from 0, for several processes or machines on one store.
            batch: Crops that go through the model at once; fewer need less memory; 25 by default.
            commit_vectors: Commit after this many vectors, or after 20 seconds; 32768 by default.
            cluster: Have the work done by the executors of a cluster, known by its scheduler; the device is theirs.
                This process commits what they stage, and a run after an interruption of any kind goes on.
            chunk_images: Images of a task: what is lost when an executor dies, and the rows of a file; 64 by default.
            dry_run: Only print how many images are left to do.
            pool: crop: a crop per mask; dense: the photo once, averaged under each mask; image: a vector per photo
                [default: crop, for DINOv2 dense]
            fit: What is not square: official (the ends are cut off, as in CLIP), pad, squash, or for photos keep (the
                aspect) [default: CLIP official, other crops squash, photos keep]
            background: What a crop shows beside the mask: keep (the photo) or mean (the model's mean colour); keep by
                default.
            context: Factor on the sides of a mask's box, 1 to 10; 1 by default.
            image_size: Side of the input for crops, long side for photos, in pixels [default: the model's; for DINOv2
                224 and 518]
            activation: The activation of a CLIP: quick-gelu (OpenAI's) or gelu (LAION's) [default: as a config beside
                the weights says]
            min_predicted_iou: Only masks with at least this predicted IoU; masks without one pass.
            min_stability_score: Only masks with at least this stability score; masks without one pass.

        >>> store.embed(checkpoint="dinov2_vitb14_pretrain.pth")
        >>> store.embed(checkpoint="clip-vit-base-patch32/", pool="crop")
        >>> store.embed(checkpoint="ViT-B-32.safetensors", activation="quick-gelu", name="clip_b32")
        >>> store.embed(checkpoint="dinov2_vits14_pretrain.pth", pool="image")
        >>> store.embed(checkpoint="dinov2_vitb14_pretrain.pth", dry_run=True)
        """
        return self._run("embed", [], {"checkpoint": checkpoint, "name": name, "device": device, "precision": precision, "extractor": extractor, "where": where, "limit": limit, "shard": shard, "batch": batch, "commit-vectors": commit_vectors, "cluster": cluster, "chunk-images": chunk_images, "dry-run": dry_run, "pool": pool, "fit": fit, "background": background, "context": context, "image-size": image_size, "activation": activation, "min-predicted-iou": min_predicted_iou, "min-stability-score": min_stability_score})

    def embedders_list(
        self,
    ) -> Any:
        """List all embedders with what they have done, oldest first.
        """
        return self._run("embedders list", [], {})

    def embedders_rm(
        self,
        embedder: str,
    ) -> Any:
        """Remove an embedder and its vectors. 'store cleanup' frees the disk space.

        Args:
            embedder: Name of the embedder, or the first digits of its id.
        """
        return self._run("embedders rm", [("embedder", embedder)], {})

    def classes_add(
        self,
        name: str,
        *,
        file: str | os.PathLike[str] | None = None,
        from_: Literal["labels", "ground-truth"] | None = None,
        dataset: str | None = None,
    ) -> Any:
        """Add a class set, or a new version of one.

        Args:
            name: Name of the class set.
            file: A .toml or .csv file.
            from_: Create one class per label, or per category, in the store.
            dataset: With --from: only of this data set.

        >>> store.classes_add("voc5", file="voc5.toml")
        >>> store.classes_add("all", from_="labels")
        """
        return self._run("classes add", [("name", name)], {"file": file, "from": from_, "dataset": dataset})

    def classes_list(
        self,
    ) -> Any:
        """.
        """
        return self._run("classes list", [], {})

    def classes_show(
        self,
        name: str,
    ) -> Any:
        """Show the classes of a set.

        Args:
            name: Name of the set; NAME@VERSION for a version that is not the newest.
        """
        return self._run("classes show", [("name", name)], {})

    def classes_diff(
        self,
        old: str,
        new: str,
    ) -> Any:
        """Show how one class set differs from another.

        Args:
            old: The older set: NAME or NAME@VERSION.
            new: The newer set.

        >>> store.classes_diff("voc5@1", "voc5")
        >>> store.classes_diff("voc", "voc5")
        """
        return self._run("classes diff", [("old", old), ("new", new)], {})

    def label_mask(
        self,
        image: str,
        mask_index: int,
        *,
        is_: str | None = None,
        is_not: str | None = None,
        none: bool = False,
        bad: bool = False,
        extractor: str | None = None,
        reviewer: str | None = None,
    ) -> Any:
        """Label one mask.

        Args:
            image: File name of the image, or the first digits of its id.
            mask_index: Index of the mask: 'grainstore show --masks' and table 'masks' have it.
            is_: It shows this.
            is_not: It does not show this.
            none: It shows nothing of any class.
            bad: It is of no use: cut badly, or of several things at once.
            extractor: First digits of the id of the extractor whose masks these are; needed if there are several.
            reviewer: Who says so: a name.
        """
        return self._run("label mask", [("image", image), ("mask_index", mask_index)], {"is": is_, "is-not": is_not, "none": none, "bad": bad, "extractor": extractor, "reviewer": reviewer})

    def label_csv(
        self,
        file: str | os.PathLike[str],
        *,
        extractor: str | None = None,
        reviewer: str | None = None,
    ) -> Any:
        """Label masks from a CSV file: image, mask_index, label (empty: none of any class) and, if you like, verdict.

        Args:
            file: The file.
            extractor: First digits of the id of the extractor whose masks these are; needed if there are several.
            reviewer: Who says so: a name.
        """
        return self._run("label csv", [("file", file)], {"extractor": extractor, "reviewer": reviewer})

    def label_ground_truth(
        self,
        *,
        dataset: str | None = None,
        where: str | None = None,
        extractor: str | None = None,
    ) -> Any:
        """Label masks by annotated objects: with an IoU of 0.5 or more a mask shows the object, below 0.1 with all it
        shows none.

        Masks of an image without annotated objects get no label: the store does not say whether somebody looked there.

        Args:
            dataset: The data set of the annotations; needed if there are several.
            where: Choose images: SQL over the columns of 'images' [default: all that are annotated]
            extractor: First digits of the id of the extractor whose masks to label; needed if there are several.
        """
        return self._run("label ground-truth", [], {"dataset": dataset, "where": where, "extractor": extractor})

    def labels_list(
        self,
        *,
        limit: int | None = None,
    ) -> Any:
        """List the labels that count, the newest last.

        Args:
            limit: Maximum number of labels; the newest are listed; 100 by default.
        """
        return self._run("labels list", [], {"limit": limit})

    def labels_confirm(
        self,
        ids: str | Iterable[str] | None = None,
        *,
        propagated: bool = False,
        label: str | None = None,
        reviewer: str | None = None,
    ) -> Any:
        """Confirm labels: you say the same. What was propagated becomes a label like those that are given by hand.

        Args:
            ids: First digits of the labels' ids.
            propagated: All labels that were propagated.
            label: With --propagated: only those of this label.
            reviewer: Who confirms them: a name.
        """
        return self._run("labels confirm", [("ids", ids)], {"propagated": propagated, "label": label, "reviewer": reviewer})

    def labels_undo(
        self,
        ids: str | Iterable[str] | None = None,
        *,
        last: int | None = None,
        propagated: bool = False,
        label: str | None = None,
    ) -> Any:
        """Take labels back. They stay in the store; a newer row says that they no longer count.

        Args:
            ids: First digits of the labels' ids.
            last: Number of labels to take back, beginning with the last that 'labels list' shows: those of one command
                come by image and mask.
            propagated: All labels that were propagated.
            label: With --propagated: only those of this label.
        """
        return self._run("labels undo", [("ids", ids)], {"last": last, "propagated": propagated, "label": label})

    def queue(
        self,
        kind: str,
        *,
        head: str | None = None,
        extractor: str | None = None,
        policy: str | None = None,
        count: int | None = None,
        where: str | None = None,
        vectors: str | None = None,
        seed: int | None = None,
        output: str | os.PathLike[str] | None = None,
        side: int | None = None,
    ) -> Any:
        """Show which masks are worth a label, the most worth first.

        Queues are uncertain (the head is not sure), threshold (nearest to the score from which on masks are kept),
        disagreement (the members of a head differ), dropout (so do several passes with dropout), image-label-errors (a
        class that the image is not labelled with), mask-label-errors (a label on a mask that the head contradicts),
        centres (least like what was looked at, by vectors), random and unlabelled (random, without a head). Masks that
        somebody has labelled are left out, except in mask-label-errors.

        Args:
            kind: The queue.
            head: Name or id of the head; every queue but 'unlabelled' needs it. Its predictions must be stored
                ('grainstore annotate'), but for centres.
            extractor: First digits of the id of the extractor, for 'unlabelled'; needed if there are several.
            policy: First digits of the id of the annotation policy [default: the one used last]
            count: Maximum number of masks; 20 by default.
            where: Choose images: SQL over the columns of 'images'.
            vectors: For centres, the vectors to choose by: an embedder, or 'tokens' [default: those that the head
                reads]
            seed: Seed of the random choices of the queues random and dropout; 0 by default.
            output: Write a sheet of the masks to this PNG file.
            side: Longer side of each picture on the sheet in pixels; 200 by default.

        >>> store.queue("uncertain", head="fine")
        >>> store.queue("disagreement", head="safe", count=50, output="unsure.png")
        >>> store.queue("centres", head="fine", vectors="dinov2_vitb14", where="split = 'target'")
        """
        return self._run("queue", [("kind", kind)], {"head": head, "extractor": extractor, "policy": policy, "count": count, "where": where, "vectors": vectors, "seed": seed, "output": output, "side": side})

    def propagate(
        self,
        *,
        vectors: str | None = None,
        min_score: float | None = None,
        min_margin: float | None = None,
        where: str | None = None,
        extractor: str | None = None,
        dry_run: bool = False,
    ) -> Any:
        """Spread labels of masks to similar masks.

        A mask gets the label of the most similar labelled mask. It is only given where nobody has said anything, and is
        weaker than whatever anybody says later. Run it again after more labels: what no longer holds is taken back.

        Args:
            vectors: Vectors to compare: an embedder, or 'tokens', the embeddings of the extractor; tokens by default.
            min_score: Minimum cosine similarity with the labelled mask.
            min_margin: Minimum lead of this similarity over that with the most similar mask of another label.
            where: Give labels only to masks of these images: SQL over the columns of 'images'.
            extractor: First digits of the id of the extractor whose masks are meant; needed if there are several.
            dry_run: Count what would get a label, and store nothing.

        >>> store.propagate(vectors="dinov2_vitb14", dry_run=True)
        >>> store.propagate(vectors="dinov2_vitb14", min_score=0.85)
        """
        return self._run("propagate", [], {"vectors": vectors, "min-score": min_score, "min-margin": min_margin, "where": where, "extractor": extractor, "dry-run": dry_run})

    def train(
        self,
        name: str,
        classes: str,
        *,
        where: str | None = None,
        negatives: str | None = None,
        mask_labels: str | None = None,
        query: str | os.PathLike[str] | None = None,
        vectors: str | Iterable[str] | None = None,
        extractor: str | None = None,
        from_: str | None = None,
        since: Literal["parent"] | None = None,
        replay: float | None = None,
        device: str | None = None,
        recipe: str | None = None,
        loss: str | None = None,
        hidden: str | None = None,
        dropout: float | None = None,
        pick: str | None = None,
        a: float | None = None,
        entropy_fraction: float | None = None,
        lambda_unc: float | None = None,
        lambda_masks: float | None = None,
        label_share: float | None = None,
        refine_dropout: float | None = None,
        epochs: int | None = None,
        keep: str | None = None,
        patience: int | None = None,
        batch_images: int | None = None,
        learning_rate: float | None = None,
        validation: float | None = None,
        balance: str | None = None,
        members: int | None = None,
        seed: int | None = None,
        cache_mib: int | None = None,
        spool_dir: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Train a head on stored masks, from labels of whole images, of single masks ('grainstore label'), or both.

        No image is read and Segment Anything does not run. If training is interrupted, nothing is stored.

        Args:
            name: Name of the head. An existing head of this name stays as an older one.
            classes: The class set: NAME or NAME@VERSION.
            where: Choose images: SQL over the columns of 'images' [default: source IN ('web', 'synthetic'), and
                labelled masks of any image]
            negatives: Images that show none of the classes, SQL over the columns of 'images': all their masks are
                background.
            mask_labels: Labels of masks that count, SQL over the columns of 'mask_labels'; 'false' for none [default:
                all]
            query: File with your own SELECT, which yields image_id, extractor_id, mask_index, embedding and label or
                labels, or what is said of masks (docs/train.md)
            vectors: What the head reads of a mask, in order: tokens (Segment Anything's), shape (six numbers), names of
                embedders ('grainstore embedders list'). With --query, each is a column: embedding for the tokens, else
                of that name [default: tokens]
            extractor: First digits of the id of the extractor whose masks to use; needed if there are several.
            from_: Continue from this head: its layers, and the outputs of classes that both have.
            since: With --from: train on images added after the parent, and on some old ones.
            replay: With --since: number of old images per new one in each epoch; 1 by default.
            device: Device to train on: cpu, or in a build with these features cuda:N, wgpu, tch:cpu, tch:cuda:N; cpu by
                default.
            recipe: Options to begin with, which the others replace: default, or paper (mil+distill, a = 8, noisy picks,
                no balance); default by default.
            loss: Loss: mil (multiple-instance loss), mil+distill (then also a student with uncertainty distillation),
                mil+distill+refine (then also a head that knows the background, from the masks that the student picks;
                for photos of one object each) or mil+refine. With labelled masks, these learn from them as well. From
                labelled masks alone: masks (cross entropy), linear (least squares) or prototypes (nearest mean)
                [default: mil+distill; masks where no image is labelled]
            hidden: Widths of the hidden layers, or none for a linear head [default: 512,256,128]
            dropout: Share of the last hidden layer's units that are dropped at random in each step of teacher and
                student [default: 0.9]
            pick: Pick the best masks of a class by logits without dropout (clean) or with it (noisy) [default: clean]
            a: A class's score is the mean over the max(1, ceil(d / A)) best of an image's d masks [default: 20]
            entropy_fraction: Entropy above which the teacher is uncertain, as a fraction of ln C [default: 0.5]
            lambda_unc: Weight of the student's uncertainty loss [default: 0.15]
            lambda_masks: Weight of the labelled masks' loss beside that of images; with fewer than 300 of them less, in
                proportion [default: 3]
            label_share: Share of labelled masks in each step of refinement; the others are those that the student picks
                [default: 0.5]
            refine_dropout: Share of the last hidden layer's units that are dropped while a head is refined, or trained
                on labelled masks alone [default: 0.5]
            epochs: Passes over the images, for each of teacher, student and refined head [default: enough for 100 steps
                a class, but 200 to 2000 and no more than 40 passes; with --from a fifth]
            keep: Epoch whose weights are kept: last, or best (least validation loss, if at least 20 images validate)
                [default: last]
            patience: With --keep best: stop after this many passes without a better validation loss; 0 never stops
                early [default: half of the epochs, at least 3]
            batch_images: Images per step [default: 64]
            learning_rate: Learning rate of Adam [default: 0.001]
            validation: Share of the images used only for validation [default: 0.1]
            balance: Handling of classes of unequal size: none, weights (rare classes count more) or sampling (rare
                classes are drawn more often) [default: weights]
            members: Train this many heads that differ in their random choices; predictions are the means of theirs
                [default: 1]
            seed: Seed of all random choices; the same seed gives the same head. A whole number below 2^63 [default: 0]
            cache_mib: MiB of embeddings kept in memory; those of larger stores are read when they are needed, and kept
                in a temporary file; 640 by default.
            spool_dir: Directory for that file [default: the system's]

        >>> store.train(name="fine", classes="all")
        >>> store.train(name="sharp", classes="all", loss="mil+distill+refine")
        >>> store.train(name="clicked", classes="all", loss="linear")
        >>> store.train(name="coarse", classes="groups", where="dataset = 'scenes'")
        >>> store.train(name="fine2", classes="all", from_="fine", since="parent")
        >>> store.train(name="dino", classes="all", vectors=["dinov2_vitb14", "tokens"])
        >>> store.train(name="safe", classes="all", negatives="source = 'street'", members=3)
        >>> store.train(name="paper", classes="all", recipe="paper")
        >>> store.train(name="mine", classes="all", query="my.sql")
        """
        return self._run("train", [], {"name": name, "classes": classes, "where": where, "negatives": negatives, "mask-labels": mask_labels, "query": query, "vectors": vectors, "extractor": extractor, "from": from_, "since": since, "replay": replay, "device": device, "recipe": recipe, "loss": loss, "hidden": hidden, "dropout": dropout, "pick": pick, "a": a, "entropy-fraction": entropy_fraction, "lambda-unc": lambda_unc, "lambda-masks": lambda_masks, "label-share": label_share, "refine-dropout": refine_dropout, "epochs": epochs, "keep": keep, "patience": patience, "batch-images": batch_images, "learning-rate": learning_rate, "validation": validation, "balance": balance, "members": members, "seed": seed, "cache-mib": cache_mib, "spool-dir": spool_dir})

    def annotate(
        self,
        head: str,
        *,
        where: str | None = None,
        score_threshold: float | None = None,
        class_threshold: Mapping[str, Any] | Iterable[str] | None = None,
        image_gate: float | None = None,
        score: str | None = None,
        min_predicted_iou: float | None = None,
        min_stability_score: float | None = None,
        nms_iou: float | None = None,
        nms: str | None = None,
        map: str | None = None,
        max_per_image: int | None = None,
        cluster: str | None = None,
        chunk_images: int | None = None,
    ) -> Any:
        """Predict the class of every mask with a head, and choose the masks that form the annotation.

        Every mask becomes a row of 'predictions', with whether it is kept and, if not, why. Images that are annotated
        already are skipped, so an interrupted run continues where it stopped.

        Args:
            head: Name of the head, or the first digits of its id.
            where: Choose images: SQL over the columns of 'images' [default: all that have masks]
            score_threshold: Minimum score of a kept mask; 0.5 by default.
            class_threshold: Minimum score of a class's masks in place of that for all; once per class.
            image_gate: Minimum of the best score of a class in an image; where it is lower, none of its masks is kept
                or votes; 0 by default.
            score: The score of a mask: p (the head's probability) or p*iou (times SAM's predicted IoU); p by default.
            min_predicted_iou: Minimum predicted IoU (SAM's own estimate of a mask's quality) of a kept mask; 0 accepts
                any; 0 by default.
            min_stability_score: Minimum stability score of a kept mask; 0 accepts any; 0 by default.
            nms_iou: A mask is suppressed if its IoU with a kept mask of higher score is above this; 0.5 by default.
            nms: Which masks can suppress each other: class (those of the same class) or all; class by default.
            map: How masks become the semantic map: paint (kept masks over each other, best score on top) or vote:TAU
                (all masks of good quality vote; a pixel gets the class whose mean score over the masks on it is
                greatest, if at least TAU) [default: vote:0.5; paint for heads of the recipe 'paper']
            max_per_image: Maximum number of kept masks per image; 100 by default.
            cluster: Have the work done by the executors of a cluster, known by its scheduler; the device is theirs.
                This process commits what they stage, and a run after an interruption of any kind goes on.
            chunk_images: Images of a task: what is lost when an executor dies, and the rows of a file; 64 by default.

        >>> store.annotate(head="fine")
        >>> store.annotate(head="fine", where="split = 'val'", score_threshold=0.5)
        """
        return self._run("annotate", [], {"head": head, "where": where, "score-threshold": score_threshold, "class-threshold": class_threshold, "image-gate": image_gate, "score": score, "min-predicted-iou": min_predicted_iou, "min-stability-score": min_stability_score, "nms-iou": nms_iou, "nms": nms, "map": map, "max-per-image": max_per_image, "cluster": cluster, "chunk-images": chunk_images})

    def rethreshold(
        self,
        head: str,
        *,
        where: str | None = None,
        score_threshold: float | None = None,
        class_threshold: Mapping[str, Any] | Iterable[str] | None = None,
        image_gate: float | None = None,
        score: str | None = None,
        min_predicted_iou: float | None = None,
        min_stability_score: float | None = None,
        nms_iou: float | None = None,
        nms: str | None = None,
        map: str | None = None,
        max_per_image: int | None = None,
        thresholds_from_labels: float | None = None,
    ) -> Any:
        """Apply another policy to a head's stored scores, whichever policy they were stored under. No head runs again.

        Args:
            head: Name of the head, or the first digits of its id.
            where: Choose images: SQL over the columns of 'images' [default: all that have masks]
            score_threshold: Minimum score of a kept mask; 0.5 by default.
            class_threshold: Minimum score of a class's masks in place of that for all; once per class.
            image_gate: Minimum of the best score of a class in an image; where it is lower, none of its masks is kept
                or votes; 0 by default.
            score: The score of a mask: p (the head's probability) or p*iou (times SAM's predicted IoU); p by default.
            min_predicted_iou: Minimum predicted IoU (SAM's own estimate of a mask's quality) of a kept mask; 0 accepts
                any; 0 by default.
            min_stability_score: Minimum stability score of a kept mask; 0 accepts any; 0 by default.
            nms_iou: A mask is suppressed if its IoU with a kept mask of higher score is above this; 0.5 by default.
            nms: Which masks can suppress each other: class (those of the same class) or all; class by default.
            map: How masks become the semantic map: paint (kept masks over each other, best score on top) or vote:TAU
                (all masks of good quality vote; a pixel gets the class whose mean score over the masks on it is
                greatest, if at least TAU) [default: vote:0.5; paint for heads of the recipe 'paper']
            max_per_image: Maximum number of kept masks per image; 100 by default.
            thresholds_from_labels: Choose the minimum score of each class by labels of images: at most this share of
                the labelled images of one other class may have a mask that is called so. The labelled images must be
                annotated.

        >>> store.rethreshold(head="fine", score_threshold=0.9)
        >>> store.rethreshold(head="fine", nms="all", nms_iou=0.7)
        >>> store.rethreshold(head="fine", class_threshold={"cat": "0.8", "dog": "0.6"})
        >>> store.rethreshold(head="fine", thresholds_from_labels=0.05)
        """
        return self._run("rethreshold", [], {"head": head, "where": where, "score-threshold": score_threshold, "class-threshold": class_threshold, "image-gate": image_gate, "score": score, "min-predicted-iou": min_predicted_iou, "min-stability-score": min_stability_score, "nms-iou": nms_iou, "nms": nms, "map": map, "max-per-image": max_per_image, "thresholds-from-labels": thresholds_from_labels})

    def heads_list(
        self,
    ) -> Any:
        """List all heads, oldest first. The newest head of each name is the one in use.
        """
        return self._run("heads list", [], {})

    def heads_show(
        self,
        head: str,
    ) -> Any:
        """Show how a head was trained.

        Args:
            head: Name of the head, or the first digits of its id.
        """
        return self._run("heads show", [("head", head)], {})

    def heads_status(
        self,
        head: str | None = None,
    ) -> Any:
        """Show which heads are out of date: rows were added, or their class set has a newer version.

        Args:
            head: Only this head [default: the newest of each name]
        """
        return self._run("heads status", [("head", head)], {})

    def heads_zero_shot(
        self,
        name: str,
        classes: str,
        embedder: str,
        checkpoint: str | os.PathLike[str],
        *,
        template: str | Iterable[str] | None = None,
        words: str | None = None,
        background: str | None = None,
        extractor: str | None = None,
    ) -> Any:
        """Make a head from the names of its classes, with a CLIP that has embedded the masks; nothing is trained.

        Args:
            name: Name of the head. An existing head of this name stays as an older one.
            classes: The class set: NAME or NAME@VERSION.
            embedder: The embedder: its name, or the first digits of its id.
            checkpoint: The weights that the embedder was made with.
            template: A text with {} in the place of the class; the vectors of several are averaged [default: 'a photo
                of a {}.']
            words: What describes a class: names, or labels (all labels that map to it, averaged); names by default.
            background: What everything else is called; for a set of one class.
            extractor: First digits of the id of the extractor whose masks the head predicts; needed if the embedder has
                done several.

        >>> store.heads_zero_shot("words", classes="voc", embedder="clip", checkpoint="clip-vit-base-patch32/")
        >>> store.heads_zero_shot("words", classes="voc", embedder="clip", checkpoint="clip-vit-base-patch32/", template=["a photo of a {}.", "a close-up of a {}."])
        """
        return self._run("heads zero-shot", [("name", name)], {"classes": classes, "embedder": embedder, "checkpoint": checkpoint, "template": template, "words": words, "background": background, "extractor": extractor})

    def heads_export(
        self,
        head: str,
        output: str | os.PathLike[str],
    ) -> Any:
        """Write a head to a safetensors file, with everything that 'import' needs.

        Args:
            head: Name of the head, or the first digits of its id.
            output: The file to write.
        """
        return self._run("heads export", [("head", head)], {"output": output})

    def heads_import(
        self,
        file: str | os.PathLike[str],
        *,
        name: str | None = None,
    ) -> Any:
        """Add a head from a file that 'export' wrote.

        Args:
            file: The file.
            name: Name for the head [default: its own]
        """
        return self._run("heads import", [("file", file)], {"name": name})

    def heads_rm(
        self,
        head: str,
        *,
        force: bool = False,
    ) -> Any:
        """Remove a head, and the student and teacher that it was trained from if nothing else uses them.

        Args:
            head: Name of the head, or the first digits of its id.
            force: Remove it even if it has predictions; they and its evaluations are removed, too.
        """
        return self._run("heads rm", [("head", head)], {"force": force})

    def heads_rename(
        self,
        head: str,
        new_name: str,
    ) -> Any:
        """Give a head another name.

        Args:
            head: Name of the head, or the first digits of its id.
            new_name: The new name.
        """
        return self._run("heads rename", [("head", head), ("new_name", new_name)], {})

    def heads_plot(
        self,
        head: str,
        output: str | os.PathLike[str],
    ) -> Any:
        """Draw a head's loss and accuracy by epoch, as SVG.

        Args:
            head: Name of the head, or the first digits of its id.
            output: The file to write.
        """
        return self._run("heads plot", [("head", head)], {"output": output})

    def evaluate(
        self,
        *,
        head: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        classes: str | None = None,
        policy: str | None = None,
        ceiling: bool = False,
        extractor: str | None = None,
        against: Literal["ground-truth"] | None = None,
        slice: str | None = None,
        dry_run: bool = False,
        at: str | None = None,
        cluster: str | None = None,
        cluster_rows: int | None = None,
    ) -> Any:
        """Evaluate a head's annotation on ground truth: mIoU, COCO's 12 metrics for masks and for boxes, and metrics per
        class.

        Only what is kept under the policy counts; for a complete precision-recall curve, annotate with a low
        --score-threshold. The metrics also become rows of 'evaluations'. Each comes from a query of queries/eval:
        'grainstore query eval/coco --show'.

        Args:
            head: Name or id of the head.
            dataset: Data set whose annotations count; needed if several have annotations.
            split: Use only images of this split.
            where: Choose images: SQL over the columns of 'images'.
            classes: Evaluate in the classes of this set. They must have the same labels and be as coarse or coarser.
            policy: First digits of the id of the annotation policy [default: the one used last]
            ceiling: Print instead what the best head could reach that there could be with an extractor's masks: those
                of --head, or with --classes those of --extractor.
            extractor: With --ceiling, first digits of the id of the extractor; needed if there are several and no
                --head.
            against: What to compare the predictions with; ground-truth by default.
            slice: Compute the metrics for each value of an SQL expression over the columns of 'images'.
            dry_run: Print the metrics without storing them.
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            cluster: Have queries run by the executors of a cluster, known by its scheduler. This process fetches the
                rows from them.
            cluster_rows: Queries that read fewer rows run in this process: they are done before a cluster has begun;
                250000 by default.

        >>> store.evaluate(head="fine", split="test")
        >>> store.evaluate(head="fine", classes="groups")
        >>> store.evaluate(ceiling=True, classes="all", split="test")
        """
        return self._run("eval", [], {"head": head, "dataset": dataset, "split": split, "where": where, "classes": classes, "policy": policy, "ceiling": ceiling, "extractor": extractor, "against": against, "slice": slice, "dry-run": dry_run, "at": at, "cluster": cluster, "cluster-rows": cluster_rows})

    def compare(
        self,
        head: str,
        with_: str,
        *,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        policy: str | None = None,
        with_policy: str | None = None,
        classes: str | None = None,
        replicates: int | None = None,
        ap_replicates: int | None = None,
        seed: int | None = None,
        at: str | None = None,
        cluster: str | None = None,
        cluster_rows: int | None = None,
    ) -> Any:
        """Compare two heads on the same images: mIoU and AP50, with 95 % bootstrap intervals of the differences.

        Args:
            head: Name or id of the first head.
            with_: Name or id of the other head.
            dataset: Data set whose annotations count; needed if several have annotations.
            split: Use only images of this split.
            where: Choose images: SQL over the columns of 'images'.
            policy: First digits of the id of the first head's annotation policy [default: the one used last]
            with_policy: First digits of the id of the other head's annotation policy [default: the one used last]
            classes: Evaluate both in the classes of this set [default: that of the first head]
            replicates: Bootstrap samples of the images for mIoU; 1000 by default.
            ap_replicates: Bootstrap samples for AP50; 200 by default.
            seed: Seed of the samples; 0 by default.
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            cluster: Have queries run by the executors of a cluster, known by its scheduler. This process fetches the
                rows from them.
            cluster_rows: Queries that read fewer rows run in this process: they are done before a cluster has begun;
                250000 by default.

        >>> store.compare(head="fine", with_="fine2", split="test")
        >>> store.compare(head="fine", with_="coarse", classes="groups")
        >>> store.compare(head="fine", policy="3f2a", with_="fine", with_policy="91c0")
        """
        return self._run("compare", [], {"head": head, "with": with_, "dataset": dataset, "split": split, "where": where, "policy": policy, "with-policy": with_policy, "classes": classes, "replicates": replicates, "ap-replicates": ap_replicates, "seed": seed, "at": at, "cluster": cluster, "cluster-rows": cluster_rows})

    def import_coco_results(
        self,
        file: str | os.PathLike[str],
        head: str,
        *,
        dataset: str | None = None,
        split: str | None = None,
        classes: str | None = None,
    ) -> Any:
        """COCO results: a JSON list of {image_id, category_id, score, segmentation or bbox}.

        They become the predictions of a head without weights. Importing the same file again adds nothing.

        Args:
            file: The results file.
            head: Name of the head that the predictions get.
            dataset: Data set whose image ids the file uses; coco by default.
            split: Only images of this split, for data sets whose splits use the same image ids.
            classes: Class set whose ids are the file's category ids [default: the one named like the data set]

        >>> store.import_coco_results("mask_rcnn.json", head="mask_rcnn", dataset="coco")
        """
        return self._run("import coco-results", [("file", file)], {"head": head, "dataset": dataset, "split": split, "classes": classes})

    def import_masks(
        self,
        *,
        dataset: str | None = None,
        ignore: int | Iterable[int] | None = None,
        coco: str | os.PathLike[str] | None = None,
        sa1b: str | os.PathLike[str] | None = None,
        label_maps: str | os.PathLike[str] | None = None,
        ground_truth: str | None = None,
    ) -> Any:
        """Masks of other programs, or of annotated objects, as masks of an extractor of kind 'imported masks'.

        Their images must be in the store; they are found by file name. Folders before either name do not count, so that
        'val/1.jpg' finds '1.jpg'. The masks have no embeddings: 'grainstore embed' gives them vectors. Importing the
        same files again adds nothing. Masks that cannot be used are recorded in table 'failures', and the run
        continues.

        Args:
            dataset: Only images of this data set. With --coco, images whose names are not found are looked for by its
                image ids.
            ignore: Values of label maps that are no masks, besides 0: 255, or several with commas between them.
            coco: A COCO data set file: polygons and RLE of any category; crowds are masks, too.
            sa1b: A JSON file as in SA-1B, or a directory of them; predicted IoU, stability score, point and crop box
                are kept.
            label_maps: A label map, or a directory of them: PNG or TIFF of 8, 16 or 32 bits, or a palette. Each value
                but 0 is a mask.
            ground_truth: The annotated objects of this data set that have masks, without crowds and ignored regions.

        >>> store.import_masks(coco="proposals.json")
        >>> store.import_masks(sa1b="sa_000020/")
        >>> store.import_masks(label_maps="cells/", ignore=255)
        >>> store.import_masks(ground_truth="coco")
        """
        return self._run("import masks", [], {"dataset": dataset, "ignore": ignore, "coco": coco, "sa1b": sa1b, "label-maps": label_maps, "ground-truth": ground_truth})

    def export_coco(
        self,
        output: str | os.PathLike[str],
        *,
        head: str | None = None,
        ground_truth: bool = False,
        policy: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        classes: str | None = None,
        at: str | None = None,
        supercategories: str | None = None,
        ids: Literal["original", "new"] | None = None,
        format: Literal["dataset", "results"] | None = None,
        segmentation: Literal["rle", "polygon"] | None = None,
    ) -> Any:
        """COCO JSON: a data set for training, or a list of results.

        Every class is a category, in declared order. Masks are RLE with text counts, or polygons with holes and parts.
        Areas and boxes are those of the masks. Images that came from COCO keep their COCO ids. The file is read back
        and checked before it replaces an existing one.

        Args:
            head: The head whose kept masks are exported, by name or id.
            ground_truth: Export annotated objects instead.
            policy: First digits of the id of the annotation policy [default: the one used last]
            dataset: Only images of this data set; with --ground-truth, the data set whose annotations are exported.
            split: Only images of this split.
            where: Choose images: SQL over the columns of 'images' [default: all that are annotated]
            classes: Class set whose classes become the categories [default: the head's own; the data set's]
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            supercategories: A coarser class set whose classes become the supercategories.
            ids: Ids of images and annotated objects: original, or new (1, 2, ...); original by default.
            format: Kind of file: dataset (images, categories, annotations) or results (a list of detections); dataset
                by default.
            segmentation: How masks are encoded: rle or polygon [default: rle; annotated objects as they were annotated]
            output: The file to write. It appears when it is complete and checked; until then an existing file stays.

        >>> store.export_coco(head="fine", output="fine.json")
        >>> store.export_coco(head="fine", where="split = 'val'", segmentation="polygon", output="val.json")
        >>> store.export_coco(head="fine", supercategories="groups", output="fine.json")
        >>> store.export_coco(head="fine", format="results", output="results.json")
        >>> store.export_coco(ground_truth=True, dataset="coco", output="instances.json")
        """
        return self._run("export coco", [], {"output": output, "head": head, "ground-truth": ground_truth, "policy": policy, "dataset": dataset, "split": split, "where": where, "classes": classes, "at": at, "supercategories": supercategories, "ids": ids, "format": format, "segmentation": segmentation})

    def export_voc(
        self,
        output: str | os.PathLike[str],
        *,
        head: str | None = None,
        ground_truth: bool = False,
        policy: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        classes: str | None = None,
        at: str | None = None,
        copy_images: bool = False,
    ) -> Any:
        """PASCAL VOC: palette PNGs SegmentationClass and SegmentationObject, and ImageSets.

        Args:
            head: The head whose kept masks are exported, by name or id.
            ground_truth: Export annotated objects instead.
            policy: First digits of the id of the annotation policy [default: the one used last]
            dataset: Only images of this data set; with --ground-truth, the data set whose annotations are exported.
            split: Only images of this split.
            where: Choose images: SQL over the columns of 'images' [default: all that are annotated]
            classes: Class set whose classes become the categories [default: the head's own; the data set's]
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            copy_images: Also write JPEGImages: upright JPEG files are copied, all others are encoded as JPEG.
            output: The directory to write. It must be empty or new.

        >>> store.export_voc(head="fine", output="voc/")
        >>> store.export_voc(head="fine", copy_images=True, output="voc/")
        >>> store.export_voc(ground_truth=True, dataset="coco", output="voc/")
        """
        return self._run("export voc", [], {"output": output, "head": head, "ground-truth": ground_truth, "policy": policy, "dataset": dataset, "split": split, "where": where, "classes": classes, "at": at, "copy-images": copy_images})

    def export_yolo(
        self,
        output: str | os.PathLike[str],
        *,
        head: str | None = None,
        ground_truth: bool = False,
        policy: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        classes: str | None = None,
        at: str | None = None,
        no_images: bool = False,
    ) -> Any:
        """Ultralytics' YOLO for segmentation: data.yaml, images and labels.

        An object is one outline: holes and parts are joined to it by bridges of no width. 'ingest yolo' restores masks
        exactly; so does Ultralytics, but for the bridges between parts. Crowds and void regions are left out.

        Args:
            head: The head whose kept masks are exported, by name or id.
            ground_truth: Export annotated objects instead.
            policy: First digits of the id of the annotation policy [default: the one used last]
            dataset: Only images of this data set; with --ground-truth, the data set whose annotations are exported.
            split: Only images of this split.
            where: Choose images: SQL over the columns of 'images' [default: all that are annotated]
            classes: Class set whose classes become the categories [default: the head's own; the data set's]
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            no_images: Write only data.yaml and labels. By default upright photos are copied, and all others are encoded
                as JPEG.
            output: The directory to write. It must be empty or new.

        >>> store.export_yolo(head="fine", output="fine/")
        >>> store.export_yolo(ground_truth=True, dataset="coco", no_images=True, output="labels/")
        """
        return self._run("export yolo", [], {"output": output, "head": head, "ground-truth": ground_truth, "policy": policy, "dataset": dataset, "split": split, "where": where, "classes": classes, "at": at, "no-images": no_images})

    def export_cvat(
        self,
        output: str | os.PathLike[str],
        *,
        head: str | None = None,
        ground_truth: bool = False,
        policy: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        classes: str | None = None,
        at: str | None = None,
        no_images: bool = False,
    ) -> Any:
        """CVAT for images 1.1: annotations.xml with masks, and images.

        Create a task in CVAT with the labels and photos, then upload annotations.xml to it. 'ingest cvat' reads what
        people made of it. Crowds and void regions are left out.

        Args:
            head: The head whose kept masks are exported, by name or id.
            ground_truth: Export annotated objects instead.
            policy: First digits of the id of the annotation policy [default: the one used last]
            dataset: Only images of this data set; with --ground-truth, the data set whose annotations are exported.
            split: Only images of this split.
            where: Choose images: SQL over the columns of 'images' [default: all that are annotated]
            classes: Class set whose classes become the categories [default: the head's own; the data set's]
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            no_images: Write only annotations.xml, with the names that the photos have below their directory. By default
                upright photos are copied, and all others are encoded as JPEG.
            output: The directory to write. It must be empty or new.

        >>> store.export_cvat(head="fine", output="fine/")
        >>> store.export_cvat(head="fine", no_images=True, output="fine/")
        >>> store.export_cvat(ground_truth=True, dataset="coco", output="coco/")
        """
        return self._run("export cvat", [], {"output": output, "head": head, "ground-truth": ground_truth, "policy": policy, "dataset": dataset, "split": split, "where": where, "classes": classes, "at": at, "no-images": no_images})

    def export_label_studio(
        self,
        output: str | os.PathLike[str],
        *,
        head: str | None = None,
        ground_truth: bool = False,
        policy: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        classes: str | None = None,
        at: str | None = None,
        address: str | None = None,
        polygons: bool = False,
    ) -> Any:
        """Label Studio: tasks with brush masks or polygons, and the labelling interface.

        What a head keeps become predictions with scores, annotated objects annotations. Make a project with config.xml
        as its labelling interface, then import tasks.json. 'ingest label-studio' reads what people made of it.

        Args:
            head: The head whose kept masks are exported, by name or id.
            ground_truth: Export annotated objects instead.
            policy: First digits of the id of the annotation policy [default: the one used last]
            dataset: Only images of this data set; with --ground-truth, the data set whose annotations are exported.
            split: Only images of this split.
            where: Choose images: SQL over the columns of 'images' [default: all that are annotated]
            classes: Class set whose classes become the categories [default: the head's own; the data set's]
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            address: Begin of the addresses of the photos, before their names [default: /data/local-files/?d=, files of
                the machine of Label Studio]
            polygons: Write masks of one part without holes as polygons, by their outlines; all others are brush masks.
            output: The directory to write. It must be empty or new.

        >>> store.export_label_studio(head="fine", output="fine/")
        >>> store.export_label_studio(head="fine", address="s3://bucket/photos/", output="fine/")
        >>> store.export_label_studio(ground_truth=True, dataset="coco", output="coco/")
        """
        return self._run("export label-studio", [], {"output": output, "head": head, "ground-truth": ground_truth, "policy": policy, "dataset": dataset, "split": split, "where": where, "classes": classes, "at": at, "address": address, "polygons": polygons})

    def export_hugging_face(
        self,
        output: str | os.PathLike[str],
        *,
        head: str | None = None,
        ground_truth: bool = False,
        policy: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        classes: str | None = None,
        at: str | None = None,
        ids: Literal["original", "new"] | None = None,
    ) -> Any:
        """Hugging Face: Parquet with photos and objects, and a card, for 'datasets'.

        Photos are in the files: upright ones as they are, all others as JPEG. Masks are what pycocotools decodes.

        Args:
            head: The head whose kept masks are exported, by name or id.
            ground_truth: Export annotated objects instead.
            policy: First digits of the id of the annotation policy [default: the one used last]
            dataset: Only images of this data set; with --ground-truth, the data set whose annotations are exported.
            split: Only images of this split.
            where: Choose images: SQL over the columns of 'images' [default: all that are annotated]
            classes: Class set whose classes become the categories [default: the head's own; the data set's]
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            ids: Ids of images and annotated objects: original, or new (1, 2, ...); original by default.
            output: The directory to write. It must be empty or new.

        >>> store.export_hugging_face(head="fine", output="fine/")
        """
        return self._run("export hugging-face", [], {"output": output, "head": head, "ground-truth": ground_truth, "policy": policy, "dataset": dataset, "split": split, "where": where, "classes": classes, "at": at, "ids": ids})

    def export_label_maps(
        self,
        output: str | os.PathLike[str],
        *,
        head: str | None = None,
        ground_truth: bool = False,
        policy: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        classes: str | None = None,
        at: str | None = None,
        objects: bool = False,
        stuff: str | Iterable[str] | None = None,
        background: int | None = None,
        tiff: bool = False,
        image_suffix: str | None = None,
        map_suffix: str | None = None,
        copy_images: bool = False,
    ) -> Any:
        """Label maps: gray levels of each image in a PNG or TIFF file, by classes or by classes and objects, and a file of
        the classes.

        0 is background, the greatest level (255 or 65535) void. Classes have their own ids if these are different and
        fit, else their places.

        Args:
            head: The head whose kept masks are exported, by name or id.
            ground_truth: Export annotated objects instead.
            policy: First digits of the id of the annotation policy [default: the one used last]
            dataset: Only images of this data set; with --ground-truth, the data set whose annotations are exported.
            split: Only images of this split.
            where: Choose images: SQL over the columns of 'images' [default: all that are annotated]
            classes: Class set whose classes become the categories [default: the head's own; the data set's]
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            objects: Values are class x 1000 + object, as Cityscapes' instanceIds; at most 64 classes.
            stuff: Classes that are their values with --objects, too, because they have no objects apart: names with
                commas between them, or the option again for each.
            background: Value of pixels of no class. Classes then have their ids as values in any case; one with this id
                looks like background [default: 0, and no class has it]
            tiff: Write TIFF files.
            image_suffix: What the names of photos have before their ending and those of maps have not.
            map_suffix: What the names of maps have before their ending and those of photos have not.
            copy_images: Also write images/: upright JPEG, PNG and WebP files are copied, all others are encoded as
                JPEG.
            output: The directory to write. It must be empty or new.

        >>> store.export_label_maps(head="fine", output="maps/")
        >>> store.export_label_maps(head="fine", objects=True, copy_images=True, output="maps/")
        >>> store.export_label_maps(ground_truth=True, dataset="cityscapes", background=0, image_suffix="_leftImg8bit", map_suffix="_gtFine_labelIds", output="maps/")
        >>> store.export_label_maps(ground_truth=True, dataset="cityscapes", background=0, objects=True, stuff=["road", "sky", "building"], output="maps/")
        """
        return self._run("export label-maps", [], {"output": output, "head": head, "ground-truth": ground_truth, "policy": policy, "dataset": dataset, "split": split, "where": where, "classes": classes, "at": at, "objects": objects, "stuff": stuff, "background": background, "tiff": tiff, "image-suffix": image_suffix, "map-suffix": map_suffix, "copy-images": copy_images})

    def export_geojson(
        self,
        output: str | os.PathLike[str],
        *,
        head: str | None = None,
        ground_truth: bool = False,
        policy: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        classes: str | None = None,
        at: str | None = None,
    ) -> Any:
        """GeoJSON: the outlines of objects as polygons, a file for each image, for QGIS, geopandas and QuPath.

        Objects of GeoTIFFs have coordinates on Earth, in the reference system of the photo. Those of other photos have
        coordinates in pixels.

        Args:
            head: The head whose kept masks are exported, by name or id.
            ground_truth: Export annotated objects instead.
            policy: First digits of the id of the annotation policy [default: the one used last]
            dataset: Only images of this data set; with --ground-truth, the data set whose annotations are exported.
            split: Only images of this split.
            where: Choose images: SQL over the columns of 'images' [default: all that are annotated]
            classes: Class set whose classes become the categories [default: the head's own; the data set's]
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            output: The directory to write. It must be empty or new.

        >>> store.export_geojson(head="fine", output="fine/")
        >>> store.export_geojson(ground_truth=True, dataset="coco", output="annotated/")
        """
        return self._run("export geojson", [], {"output": output, "head": head, "ground-truth": ground_truth, "policy": policy, "dataset": dataset, "split": split, "where": where, "classes": classes, "at": at})

    def export_parquet(
        self,
        output: str | os.PathLike[str],
        *,
        head: str | None = None,
        ground_truth: bool = False,
        policy: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        classes: str | None = None,
        at: str | None = None,
        supercategories: str | None = None,
        ids: Literal["original", "new"] | None = None,
    ) -> Any:
        """Parquet: one row per object, for pandas, polars or DuckDB.

        Args:
            head: The head whose kept masks are exported, by name or id.
            ground_truth: Export annotated objects instead.
            policy: First digits of the id of the annotation policy [default: the one used last]
            dataset: Only images of this data set; with --ground-truth, the data set whose annotations are exported.
            split: Only images of this split.
            where: Choose images: SQL over the columns of 'images' [default: all that are annotated]
            classes: Class set whose classes become the categories [default: the head's own; the data set's]
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            supercategories: A coarser class set whose classes become the supercategories.
            ids: Ids of images and annotated objects: original, or new (1, 2, ...); original by default.
            output: The file to write. It appears when it is complete.

        >>> store.export_parquet(head="fine", output="fine.parquet")
        """
        return self._run("export parquet", [], {"output": output, "head": head, "ground-truth": ground_truth, "policy": policy, "dataset": dataset, "split": split, "where": where, "classes": classes, "at": at, "supercategories": supercategories, "ids": ids})

    def export_sa1b(
        self,
        output: str | os.PathLike[str],
        *,
        extractor: str | None = None,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        ids: Literal["original", "new"] | None = None,
        copy_images: bool = False,
        at: str | None = None,
    ) -> Any:
        """SA-1B JSON: all masks of an extractor, a file for each image, without classes.

        Each mask has its run lengths, box, area, predicted IoU, stability score, point and crop, as in the data set of
        Segment Anything. Masks that people added are of an extractor of their own ('grainstore query
        review/extractors').

        Args:
            extractor: First digits of the id of the extractor whose masks are exported [default: the only model's; if
                there is none, the only import]
            dataset: Only images of this data set.
            split: Only images of this split.
            where: Choose images: SQL over the columns of 'images' [default: all that the extractor has seen]
            ids: Ids of images: original, or new (1, 2, ...); original by default.
            copy_images: Also write the photos, beside the files of their masks: upright ones are copied, all others are
                encoded as JPEG.
            output: The directory to write. It must be empty or new.
            at: Read the store at an earlier version ('grainstore store log') or at a tag.

        >>> store.export_sa1b(output="masks/")
        >>> store.export_sa1b(extractor="6f3a", where="split = 'val'", copy_images=True, output="sa_000000/")
        """
        return self._run("export sa1b", [], {"output": output, "extractor": extractor, "dataset": dataset, "split": split, "where": where, "ids": ids, "copy-images": copy_images, "at": at})

    def search(
        self,
        *,
        like: str | None = None,
        text: str | None = None,
        image: str | None = None,
        vectors: str | None = None,
        count: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        extractor: str | None = None,
        where: str | None = None,
        exact: bool = False,
        output: str | os.PathLike[str] | None = None,
        side: int | None = None,
        at: str | None = None,
    ) -> Any:
        """Find masks that are like a mask or like words, or photos that are like a photo.

        Vectors are compared by their cosine. The search is exact, unless there is an index ('grainstore store index').

        Args:
            like: Find masks like this one: the photo's file name, or first digits of its id, and the mask's index.
            text: Find masks that show this. The vectors must be those of a CLIP.
            image: Find photos like this one: its file name, or first digits of its id.
            vectors: Vectors to compare: an embedder, or 'tokens', the embeddings of the extractor [default: for masks
                tokens, otherwise the only embedder]
            count: Maximum number of results. The mask or photo that is searched for is the first; 20 by default.
            checkpoint: The weights that the embedder was made with: a file, or a Hugging Face folder.
            extractor: First digits of the id of the mask's extractor [default: the newest one that has such a mask]
            where: Search only in these images: SQL over the columns of 'images'.
            exact: Compare every vector, even if there is an index.
            output: Write a sheet of what was found to this PNG file.
            side: Longer side of each picture on the sheet in pixels; 200 by default.
            at: Read the store at an earlier version ('grainstore store log') or at a tag.

        >>> store.search(like="val/000000000139.jpg:17")
        >>> store.search(like="3f2a:17", vectors="dinov2_vitb14", output="alike.png")
        >>> store.search(text="a rusty bolt", vectors="clip_b32", checkpoint="clip-vit-base-patch32/", output="bolts.png")
        >>> store.search(image="val/000000000139.jpg", vectors="photos", count=50)
        """
        return self._run("search", [], {"like": like, "text": text, "image": image, "vectors": vectors, "count": count, "checkpoint": checkpoint, "extractor": extractor, "where": where, "exact": exact, "output": output, "side": side, "at": at})

    def report(
        self,
        head: str,
        *,
        dataset: str | None = None,
        split: str | None = None,
        where: str | None = None,
        classes: str | None = None,
        policy: str | None = None,
        images: int | None = None,
        output: str | os.PathLike[str] | None = None,
        at: str | None = None,
        cluster: str | None = None,
        cluster_rows: int | None = None,
    ) -> Any:
        """Write an HTML page about a head: metrics, charts, confusion, best and worst images, lineage.

        The page is self-contained: it can be sent by mail and opens without a network.

        Args:
            head: Name or id of the head.
            dataset: Data set whose annotations count; needed if several have annotations.
            split: Use only images of this split.
            where: Choose images: SQL over the columns of 'images'.
            classes: Evaluate in the classes of this set. They must have the same labels and be as coarse or coarser.
            policy: First digits of the id of the annotation policy [default: the one used last]
            images: Images per section: best, worst, least certain; 6 by default.
            output: The page to write. It appears when it is complete; report.html by default.
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            cluster: Have queries run by the executors of a cluster, known by its scheduler. This process fetches the
                rows from them.
            cluster_rows: Queries that read fewer rows run in this process: they are done before a cluster has begun;
                250000 by default.

        >>> store.report(head="fine", output="fine.html")
        >>> store.report(head="fine", classes="groups", split="test", output="groups.html")
        """
        return self._run("report", [], {"head": head, "dataset": dataset, "split": split, "where": where, "classes": classes, "policy": policy, "images": images, "output": output, "at": at, "cluster": cluster, "cluster-rows": cluster_rows})

    def check(
        self,
        *,
        deep: bool = False,
        at: str | None = None,
        cluster: str | None = None,
        cluster_rows: int | None = None,
    ) -> Any:
        """Check that the store is sound: runs every query of queries/check. Exit code 1 if one finds something.

        Args:
            deep: First read every file completely and compare it with the checksum taken when it was written.
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
            cluster: Have queries run by the executors of a cluster, known by its scheduler. This process fetches the
                rows from them.
            cluster_rows: Queries that read fewer rows run in this process: they are done before a cluster has begun;
                250000 by default.

        >>> store.check()
        """
        return self._run("check", [], {"deep": deep, "at": at, "cluster": cluster, "cluster-rows": cluster_rows})

    def info(
        self,
        *,
        at: str | None = None,
    ) -> Any:
        """Show the rows, files and bytes of every table.

        Args:
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
        """
        return self._run("store info", [], {"at": at})

    def log(
        self,
        *,
        limit: int | None = None,
    ) -> Any:
        """List all commits, oldest first.

        Args:
            limit: Only the newest N commits.
        """
        return self._run("store log", [], {"limit": limit})

    def tags(
        self,
    ) -> Any:
        """List all tags.
        """
        return self._run("store tags", [], {})

    def tag(
        self,
        tag: str,
        *,
        at: str | None = None,
    ) -> Any:
        """Give a version a name. Clean-up keeps tagged versions.

        Args:
            tag: The tag.
            at: Read the store at an earlier version ('grainstore store log') or at a tag.

        >>> store.tag("before-relabel")
        """
        return self._run("store tag", [("tag", tag)], {"at": at})

    def untag(
        self,
        tag: str,
    ) -> Any:
        """Remove a tag.

        Args:
            tag: The tag.
        """
        return self._run("store untag", [("tag", tag)], {})

    def relocate(
        self,
        directory: str | os.PathLike[str],
        *,
        all: bool = False,
    ) -> Any:
        """Find photos that were moved or renamed, and store their new paths.

        Photos are identified by their bytes. Nothing else in the store changes. Exports keep a photo's file name if its
        new path ends in it.

        Args:
            directory: The directory to look in, including everything below it.
            all: Also use the path below DIRECTORY for photos that are still at the stored path.

        >>> store.relocate("/mnt/photos")
        >>> store.relocate("/fast/photos", all=True)
        """
        return self._run("store relocate", [("directory", directory)], {"all": all})

    def copy(
        self,
        to: str,
    ) -> Any:
        """Copy the store with its history to an empty place: up to a bucket, or down to a disk.

        Every file is compared with its checksum on the way. An interrupted copy goes on when it is started again.
        Photos stay where they are.

        Args:
            to: Where the copy goes: a directory or a bucket.
        """
        return self._run("store copy", [("to", to)], {})

    def compact(
        self,
        *,
        cluster: str | None = None,
    ) -> Any:
        """Merge small data files, because many small commits make reading slow.

        Args:
            cluster: Have the files merged by the executors of a cluster, known by its scheduler. This process commits
                what they made; a run that is interrupted changes nothing.

        >>> store.compact()
        """
        return self._run("store compact", [], {"cluster": cluster})

    def cleanup(
        self,
        *,
        older_than: str | None = None,
    ) -> Any:
        """Remove old versions and free their disk space. The newest version and tagged ones stay.

        Args:
            older_than: Remove versions older than this: a number with s, m, h, d or w; 7d by default.

        >>> store.cleanup(older_than="12h")
        """
        return self._run("store cleanup", [], {"older-than": older_than})

    def index_create(
        self,
        table: str,
        *,
        kind: str | None = None,
        partitions: int | None = None,
        sub_vectors: int | None = None,
        cluster: str | None = None,
        part_rows: int | None = None,
    ) -> Any:
        """Make an index of a table's vectors or images. It takes the place of an earlier one.

        Others can write meanwhile. Rows that are added later are not in the index; they are read one by one, until
        'grainstore store index update' adds them.

        Args:
            table: The table: masks, vectors.NAME or image_vectors.NAME; for --kind bloom, any with a column image_id.
            kind: ivf_sq (vectors, a byte a number), ivf_pq (vectors, a byte per 16 numbers: small, and misses more),
                ivf_flat (vectors, as they are) or bloom (images); ivf_sq by default.
            partitions: Number of partitions, of which a search looks at 20 by default [default: one per 4096 rows]
            sub_vectors: For ivf_pq, bytes that a vector is quantised to; a divisor of its length [default: one byte per
                16 numbers]
            cluster: Have the rows put into an index of vectors by the executors of a cluster, known by its scheduler.
                This process trains the index, and merges and commits what they made; a run that is interrupted changes
                nothing.
            part_rows: Rows of a task, unless one file has more; 250000 by default.

        >>> store.index_create("vectors.dinov2_vitb14")
        >>> store.index_create("masks", kind="ivf_flat")
        >>> store.index_create("vectors.clip_b32", kind="ivf_pq", partitions=500, sub_vectors=64)
        >>> store.index_create("masks", kind="bloom")
        """
        return self._run("store index create", [("table", table)], {"kind": kind, "partitions": partitions, "sub-vectors": sub_vectors, "cluster": cluster, "part-rows": part_rows})

    def index_update(
        self,
        table: str,
        *,
        cluster: str | None = None,
        part_rows: int | None = None,
    ) -> Any:
        """Add the rows to a table's indexes that came after they were made.

        Args:
            table: The table: masks, vectors.NAME, image_vectors.NAME, or another that has an index.
            cluster: Have the rows put into an index of vectors by the executors of a cluster, known by its scheduler.
                This process trains the index, and merges and commits what they made; a run that is interrupted changes
                nothing.
            part_rows: Rows of a task, unless one file has more; 250000 by default.
        """
        return self._run("store index update", [("table", table)], {"cluster": cluster, "part-rows": part_rows})

    def index_drop(
        self,
        table: str,
        *,
        kind: str | None = None,
    ) -> Any:
        """Drop a table's indexes. 'store cleanup' frees the disk space.

        Args:
            table: The table: masks, vectors.NAME, image_vectors.NAME, or another that has an index.
            kind: Drop only the index of images (bloom) or of vectors (any other kind)
        """
        return self._run("store index drop", [("table", table)], {"kind": kind})

    def index_list(
        self,
        *,
        at: str | None = None,
    ) -> Any:
        """List the indexes of all tables.

        Args:
            at: Read the store at an earlier version ('grainstore store log') or at a tag.
        """
        return self._run("store index list", [], {"at": at})

    def schema(
        self,
        table: str | None = None,
    ) -> Any:
        """Print the table declarations: every column with its unit and range.

        Args:
            table: The table [default: all tables]

        >>> store.schema()
        >>> store.schema("masks")
        """
        return self._run("schema", [("table", table)], {})
