"""Video by PyAV: frames, their times and colours, and the streams beside them."""
