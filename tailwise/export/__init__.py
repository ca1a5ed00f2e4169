"""``tailwise export``: a run's model as one file that says how to use it: ONNX, a torch.export program, or safetensors."""

from tailwise.export.job import Exported, export

__all__ = ["Exported", "export"]
