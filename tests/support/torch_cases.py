"""Live modules of PyTorch with random weights."""

BATCH, TIME, INPUT, HIDDEN = 4, 6, 3, 5


def draw_module(torch, module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module.eval()
