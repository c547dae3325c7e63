"""Pipelines of diffusers at tiny sizes, with random weights and without text encoders."""

from collections.abc import Callable
from dataclasses import dataclass

import diffusers
import torch
from torch import Tensor

FLUX_SIGMAS = {"use_dynamic_shifting": True, "base_image_seq_len": 16, "max_image_seq_len": 64}
SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
DDIM = SD | {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}


@dataclass
class Family:
    """A pipeline, what it is called with, and by its own words: what its network is, what stands
    for pictures x (B, 3, T, H, W), and how latents unfold into cells (B, C, ..., h, w)."""

    pipe: diffusers.DiffusionPipeline
    inputs: dict
    network: torch.nn.Module
    clean: Callable[[Tensor], Tensor]
    pixels: int = 8
    cells: Callable[[Tensor], Tensor] = lambda latents: latents
    frames: int = 1
    argument: str | int = "hidden_states"
    called: str = "callback_on_step_end"

    def run(self, **more):
        self.pipe.set_progress_bar_config(disable=True)
        # Pipelines change the lists that they are given.
        if "callback_on_step_end" in more:
            more[self.called] = more.pop("callback_on_step_end")
        return self.pipe(**{**self.inputs, "output_type": "latent", **more}, return_dict=False)[0]


def vae(**more) -> diffusers.AutoencoderKL:
    return diffusers.AutoencoderKL(
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        **more,
    )


def unet(**more):
    given = {
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 16,
        "norm_num_groups": 8,
        "attention_head_dim": 8,
        "sample_size": 16,
    }
    return diffusers.UNet2DConditionModel(**{**given, **more})


def words(*shape):
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))


def first(x):  # (B, 3, 1, H, W) -> (B, 3, H, W)
    return x[:, :, 0]


def mode(autoencoder, x):
    return autoencoder.encode(x).latent_dist.mode()


def picture_inputs(**more):
    return {"height": 128, "width": 128, "num_inference_steps": 6, "guidance_scale": 1.0, **more}


def stable_diffusion(scheduler=None):
    network, own = unet(), vae()
    pipe = diffusers.StableDiffusionPipeline(
        own, None, None, network, scheduler or diffusers.DDIMScheduler(**DDIM), None, None,
        requires_safety_checker=False,
    )  # fmt: skip
    inputs = picture_inputs(prompt_embeds=words(7, 16))
    return Family(
        pipe, inputs, network, lambda x: mode(own, first(x)) * own.config.scaling_factor, argument=0
    )


def latent_consistency():
    network, own = unet(time_cond_proj_dim=16), vae()
    pipe = diffusers.LatentConsistencyModelPipeline(
        own, None, None, network, diffusers.LCMScheduler(**DDIM), None, None,
        requires_safety_checker=False,
    )  # fmt: skip
    inputs = picture_inputs(prompt_embeds=words(7, 16), guidance_scale=8.5)
    return Family(
        pipe, inputs, network, lambda x: mode(own, first(x)) * own.config.scaling_factor, argument=0
    )


def stable_diffusion_xl():
    own = vae(scaling_factor=0.13, latents_mean=[0.1, -0.2, 0.3, 0], latents_std=[1, 2, 3, 4])
    network = unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    )
    scheduler = diffusers.EulerDiscreteScheduler(**SD, use_karras_sigmas=True)
    pipe = diffusers.StableDiffusionXLPipeline(
        own, None, None, None, None, network, scheduler, add_watermarker=False
    )
    inputs = picture_inputs(
        prompt_embeds=words(7, 16),
        pooled_prompt_embeds=words(16),
        negative_prompt_embeds=words(7, 16),
        negative_pooled_prompt_embeds=words(16),
        guidance_scale=5.0,
    )

    def clean(x):
        mean, std = torch.tensor([0.1, -0.2, 0.3, 0]), torch.tensor([1.0, 2, 3, 4])
        return (mode(own, first(x)) - mean.view(4, 1, 1)) * 0.13 / std.view(4, 1, 1)

    return Family(pipe, inputs, network, clean, argument=0)


def stable_diffusion_3():
    own = vae(latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609)
    network = diffusers.SD3Transformer2DModel(
        sample_size=16, num_layers=1, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=16, caption_projection_dim=32, pooled_projection_dim=16,
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipe = diffusers.StableDiffusion3Pipeline(
        network, scheduler, own, None, None, None, None, None, None
    )
    inputs = picture_inputs(prompt_embeds=words(7, 16), pooled_prompt_embeds=words(16))
    return Family(pipe, inputs, network, lambda x: (mode(own, first(x)) - 0.0609) * 1.5305)


def flux():
    own = vae(latent_channels=4, scaling_factor=0.3611, shift_factor=0.1159)
    network = diffusers.FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=16, pooled_projection_dim=16,
        axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**FLUX_SIGMAS)
    pipe = diffusers.FluxPipeline(scheduler, own, None, None, None, None, network)
    inputs = picture_inputs(prompt_embeds=words(7, 16), pooled_prompt_embeds=words(16), width=96)
    return Family(
        pipe, inputs, network, lambda x: (mode(own, first(x)) - 0.1159) * 0.3611,
        cells=lambda latents: pipe._unpack_latents(latents, 128, 96, 8),
    )  # fmt: skip


def chroma():
    own = vae(latent_channels=4, scaling_factor=0.3611, shift_factor=0.1159)
    network = diffusers.ChromaTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=16, axes_dims_rope=(4, 4, 8),
        approximator_num_channels=8, approximator_hidden_dim=16, approximator_layers=1,
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    pipe = diffusers.ChromaPipeline(scheduler, own, None, None, network)
    inputs = picture_inputs(
        prompt_embeds=words(7, 16), prompt_attention_mask=torch.ones(1, 7), width=96
    )
    return Family(
        pipe, inputs, network, lambda x: (mode(own, first(x)) - 0.1159) * 0.3611,
        cells=lambda latents: pipe._unpack_latents(latents, 128, 96, 8),
    )  # fmt: skip


def _flux_2(kind, **more):
    own = diffusers.AutoencoderKLFlux2(
        block_out_channels=(8,) * 4, layers_per_block=1, latent_channels=4, norm_num_groups=4
    )
    own.eval()
    own.bn.running_mean.copy_(torch.linspace(-1, 1, 16))
    own.bn.running_var.copy_(torch.linspace(0.1, 2, 16))
    network = diffusers.Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=16, timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4), guidance_embeds=kind is diffusers.Flux2Pipeline,
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**FLUX_SIGMAS)
    pipe = kind(scheduler, own, None, None, network, **more)
    inputs = picture_inputs(prompt_embeds=words(7, 16), width=96)

    def clean(x):
        folded = pipe._patchify_latents(mode(own, first(x)))
        mean, var = own.bn.running_mean.view(-1, 1, 1), own.bn.running_var.view(-1, 1, 1)
        return pipe._unpatchify_latents((folded - mean) / torch.sqrt(var + 1e-4))

    def cells(latents):
        return pipe._unpatchify_latents(latents.transpose(1, 2).unflatten(2, (8, 6)))

    return Family(pipe, inputs, network, clean, cells=cells)


def flux_2():
    return _flux_2(diffusers.Flux2Pipeline)


def flux_2_klein():
    return _flux_2(diffusers.Flux2KleinPipeline, is_distilled=True)


STATISTICS = {"latents_mean": [0.5, -0.5, 0.1, 0], "latents_std": [0.5, 1, 2, 3]}


def _normalised(z):
    mean, std = (torch.tensor(value).view(4, 1, 1, 1) for value in STATISTICS.values())
    return (z - mean) / std


def qwen_image():
    own = diffusers.AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, **STATISTICS
    )
    network = diffusers.QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**FLUX_SIGMAS)
    pipe = diffusers.QwenImagePipeline(scheduler, own, None, None, network)
    inputs = picture_inputs(
        prompt_embeds=words(7, 16),
        prompt_embeds_mask=torch.ones(1, 7, dtype=torch.long),
        width=96,
    )
    del inputs["guidance_scale"]
    return Family(
        pipe, inputs, network, lambda x: _normalised(mode(own, x))[:, :, 0],
        cells=lambda latents: pipe._unpack_latents(latents, 128, 96, 8)[:, :, 0],
    )  # fmt: skip


def wan():
    own = diffusers.AutoencoderKLWan(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, **STATISTICS
    )
    network = diffusers.WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=16,
        freq_dim=16, ffn_dim=16, num_layers=1, rope_max_seq_len=32,
    )  # fmt: skip
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    pipe = diffusers.WanPipeline(None, None, own, scheduler, network)
    inputs = picture_inputs(prompt_embeds=words(7, 16), num_frames=9)
    return Family(pipe, inputs, network, lambda x: _normalised(mode(own, x)), frames=9)


def ltx():
    own = diffusers.AutoencoderKLLTXVideo(
        latent_channels=4, block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
        layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 5,
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False), patch_size=2,
        scaling_factor=0.7,
    )  # fmt: skip
    own.latents_mean.copy_(torch.tensor(STATISTICS["latents_mean"]))
    own.latents_std.copy_(torch.tensor(STATISTICS["latents_std"]))
    network = diffusers.LTXVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8,
        cross_attention_dim=16, num_layers=1, caption_channels=16,
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**FLUX_SIGMAS)
    pipe = diffusers.LTXPipeline(scheduler, own, None, None, network)
    inputs = picture_inputs(
        prompt_embeds=words(7, 16), prompt_attention_mask=torch.ones(1, 7), num_frames=9, width=96
    )
    return Family(
        pipe, inputs, network, lambda x: _normalised(mode(own, x)) * 0.7,
        cells=lambda latents: pipe._unpack_latents(latents, 3, 16, 12), frames=9,
    )  # fmt: skip


def sana():
    own = diffusers.AutoencoderDC(
        latent_channels=4, attention_head_dim=2, encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8), encoder_layers_per_block=(1,) * 4,
        decoder_layers_per_block=(1,) * 4, encoder_qkv_multiscales=((),) * 4,
        decoder_qkv_multiscales=((),) * 4, scaling_factor=0.41407,
    )  # fmt: skip
    network = diffusers.SanaTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=1,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16,
        caption_channels=16, sample_size=16,
    )  # fmt: skip
    pipe = diffusers.SanaPipeline(
        None, None, own, network, diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    )
    inputs = picture_inputs(
        prompt_embeds=words(7, 16), prompt_attention_mask=torch.ones(1, 7),
        use_resolution_binning=False, negative_prompt=None,
    )  # fmt: skip
    return Family(
        pipe, inputs, network, lambda x: own.encode(first(x)).latent * 0.41407, argument=0
    )


def pixart():
    own = vae()
    network = diffusers.PixArtTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=1,
        cross_attention_dim=16, sample_size=16, caption_channels=16, norm_num_groups=4,
        use_additional_conditions=False,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(**DDIM)
    pipe = diffusers.PixArtAlphaPipeline(None, None, own, network, scheduler)
    inputs = picture_inputs(
        prompt_embeds=words(7, 16), prompt_attention_mask=torch.ones(1, 7),
        use_resolution_binning=False, negative_prompt=None,
    )  # fmt: skip
    return Family(
        pipe, inputs, network, lambda x: mode(own, first(x)) * own.config.scaling_factor,
        argument=0, called="callback",
    )  # fmt: skip


def movq():
    return diffusers.VQModel(
        block_out_channels=(8,) * 4, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=4,
        num_vq_embeddings=8,
    )  # fmt: skip


def kandinsky():
    own = movq()
    network = unet(
        out_channels=8, encoder_hid_dim=16, encoder_hid_dim_type="image_proj",
        addition_embed_type="image",
    )  # fmt: skip
    scheduler = diffusers.DDPMScheduler(
        **SD, clip_sample=False, variance_type="learned_range", thresholding=False
    )
    pipe = diffusers.KandinskyV22Pipeline(network, scheduler, own)
    inputs = picture_inputs(image_embeds=words(16), negative_image_embeds=words(16))
    return Family(pipe, inputs, network, lambda x: own.encode(first(x)).latents, argument="sample")


def z_image():
    own = vae(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159)
    network = diffusers.ZImageTransformer2DModel(
        in_channels=16, dim=32, n_layers=1, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
        cap_feat_dim=16, axes_dims=[4, 4, 8], axes_lens=[256, 32, 32],
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipe = diffusers.ZImagePipeline(scheduler, own, None, None, network)
    inputs = picture_inputs(prompt_embeds=[words(7, 16)[0]], guidance_scale=0.0)
    return Family(
        pipe, inputs, network, lambda x: (mode(own, first(x)) - 0.1159) * 0.3611, argument=0,
    )  # fmt: skip


def animate_diff():
    adapter = diffusers.MotionAdapter(
        block_out_channels=(16, 32), motion_layers_per_block=1, motion_num_attention_heads=2,
        motion_norm_num_groups=4, use_motion_mid_block=False,
    )  # fmt: skip
    own, scheduler = vae(), diffusers.DDIMScheduler(**DDIM)
    pipe = diffusers.AnimateDiffPipeline(own, None, None, unet(), adapter, scheduler)
    inputs = picture_inputs(prompt_embeds=words(7, 16), num_frames=3)

    def clean(x):
        return torch.stack([mode(own, frame) for frame in x.unbind(2)], 2) * 0.18215

    return Family(pipe, inputs, pipe.unet, clean, frames=3, argument=0)


def cog_video_x():
    own = diffusers.AutoencoderKLCogVideoX(
        block_out_channels=(8,) * 4, latent_channels=4, layers_per_block=1, norm_num_groups=4,
    )  # fmt: skip
    network = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=4,
        time_embed_dim=8, text_embed_dim=16, num_layers=1, sample_width=16, sample_height=16,
        sample_frames=9, max_text_seq_length=7,
    )  # fmt: skip
    scheduler = diffusers.CogVideoXDDIMScheduler(**DDIM, snr_shift_scale=3.0)
    pipe = diffusers.CogVideoXPipeline(None, None, own, network, scheduler)
    inputs = picture_inputs(prompt_embeds=words(7, 16), num_frames=9)
    return Family(
        pipe, inputs, network, lambda x: mode(own, x) * own.config.scaling_factor, frames=9,
        cells=lambda latents: latents.transpose(1, 2),
    )  # fmt: skip


def hunyuan_video():
    own = diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1, norm_num_groups=4,
        mid_block_add_attention=False,
    )  # fmt: skip
    network = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=16, num_layers=1,
        num_single_layers=1, num_refiner_layers=1, text_embed_dim=16, pooled_projection_dim=16,
        rope_axes_dim=(4, 4, 8),
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0)
    pipe = diffusers.HunyuanVideoPipeline(None, None, network, own, scheduler, None, None)
    inputs = picture_inputs(
        prompt_embeds=words(7, 16), pooled_prompt_embeds=words(16),
        prompt_attention_mask=torch.ones(1, 7), num_frames=9,
    )  # fmt: skip
    return Family(
        pipe, inputs, network, lambda x: mode(own, x) * own.config.scaling_factor, frames=9
    )


def kandinsky_3():
    own = movq()
    network = diffusers.Kandinsky3UNet(
        time_embedding_dim=16, groups=4, attention_head_dim=4, layers_per_block=3,
        block_out_channels=(16, 32), cross_attention_dim=16, encoder_hid_dim=16,
    )  # fmt: skip
    scheduler = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=False)
    pipe = diffusers.Kandinsky3Pipeline(None, None, network, scheduler, own)
    inputs = picture_inputs(prompt_embeds=words(7, 16), attention_mask=torch.ones(1, 7))
    return Family(pipe, inputs, network, lambda x: own.encode(first(x)).latents, argument=0)


def ltx_2():
    own = diffusers.AutoencoderKLLTX2Video(
        latent_channels=4, block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 3,
        layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 4, patch_size=2,
        spatio_temporal_scaling=(True, True, True, False), scaling_factor=0.7,
        spatial_compression_ratio=8, temporal_compression_ratio=4,
    )  # fmt: skip
    own.latents_mean.copy_(torch.tensor(STATISTICS["latents_mean"]))
    own.latents_std.copy_(torch.tensor(STATISTICS["latents_std"]))
    sound = diffusers.AutoencoderKLLTX2Audio(
        base_channels=8, num_res_blocks=1, latent_channels=4, mel_bins=8
    )
    connectors = diffusers.pipelines.ltx2.LTX2TextConnectors(
        caption_channels=16, text_proj_in_factor=1, video_connector_num_attention_heads=2,
        video_connector_attention_head_dim=8, video_connector_num_layers=1,
        video_connector_num_learnable_registers=None, audio_connector_num_attention_heads=2,
        audio_connector_attention_head_dim=8, audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=None,
    )  # fmt: skip
    network = diffusers.LTX2VideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8,
        cross_attention_dim=16, audio_in_channels=8, audio_out_channels=8,
        audio_num_attention_heads=2, audio_attention_head_dim=8, audio_cross_attention_dim=16,
        num_layers=1, caption_channels=16,
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**FLUX_SIGMAS)
    pipe = diffusers.LTX2Pipeline(scheduler, own, sound, None, None, connectors, network, None)
    inputs = picture_inputs(
        prompt_embeds=words(7, 16), prompt_attention_mask=torch.ones(1, 7), num_frames=9, width=96,
        audio_guidance_scale=1.0, stg_scale=0.0, modality_scale=1.0, audio_stg_scale=0.0,
        audio_modality_scale=1.0,
    )  # fmt: skip
    return Family(
        pipe, inputs, network, lambda x: _normalised(mode(own, x)) * 0.7,
        cells=lambda latents: pipe._unpack_latents(latents, 3, 16, 12), frames=9,
    )  # fmt: skip


FAMILIES = {
    build.__name__: build
    for build in (
        stable_diffusion, latent_consistency, stable_diffusion_xl, stable_diffusion_3, flux, chroma,
        flux_2, flux_2_klein, qwen_image, wan, ltx, sana, pixart, kandinsky, z_image, animate_diff,
        cog_video_x, hunyuan_video, kandinsky_3, ltx_2,
    )
}  # fmt: skip


def family(name: str) -> Family:
    torch.manual_seed(0)
    made = FAMILIES[name]()
    for part in made.pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return made


def states(made: Family, **more) -> tuple[list[Tensor], Tensor]:
    """What enters the network at every call, as cells and unscaled, and what the pipeline gives."""
    found = []

    def seen(network, arguments, named):
        x = arguments[made.argument] if isinstance(made.argument, int) else named[made.argument]
        x = torch.stack(x)[:, :, 0] if isinstance(x, list) else x
        x = x[: len(x) // 2] if getattr(made.pipe, "do_classifier_free_guidance", False) else x
        if isinstance(made.pipe.scheduler, diffusers.EulerDiscreteScheduler):
            x = x * (made.pipe.scheduler.sigmas[len(found)] ** 2 + 1) ** 0.5
        found.append(made.cells(x.clone()))

    hook = made.network.register_forward_pre_hook(seen, with_kwargs=True)
    finished = made.run(**{"generator": torch.Generator().manual_seed(5), **more})
    hook.remove()
    return found, finished


def level(scheduler, i: int) -> tuple[float, float, float]:
    """(the paper's timestep, signal, noise) of a state that enters step i of an order-1 scheduler,
    by its formulas."""
    timestep = float(scheduler.timesteps[i])
    if hasattr(scheduler, "scale_noise") or getattr(scheduler.config, "use_flow_sigmas", False):
        return timestep, 1 - float(scheduler.sigmas[i]), float(scheduler.sigmas[i])
    if isinstance(scheduler, diffusers.EulerDiscreteScheduler):
        return timestep + 1, 1.0, float(scheduler.sigmas[i])
    kept = float(scheduler.alphas_cumprod[int(timestep)])
    return timestep + 1, kept**0.5, (1 - kept) ** 0.5
