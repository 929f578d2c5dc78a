import torch
def spectral_convergence(pred, target, eps=1e-6): return ((target-pred).flatten(1).norm(dim=1)/(target.flatten(1).norm(dim=1)+eps)).mean()
def log_magnitude(pred, target, eps=1e-6): return ((pred+eps).log()-(target+eps).log()).abs().mean()
def spectral_loss(pred, target, w_sc=1., w_lm=1., eps=1e-6): return w_sc*spectral_convergence(pred,target,eps)+w_lm*log_magnitude(pred,target,eps)
