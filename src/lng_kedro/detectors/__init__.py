"""The detectors of Table III, YOLO and RT-DETR, by ultralytics (optional extra `baselines`, AGPL-3.0)."""
