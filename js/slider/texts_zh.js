/** The texts of the slider in Chinese. */

export const CHINESE = {
  "Frames between two pictures": "两张图像之间的帧",
  Frame: "帧",
  Speed: "速度",
  "{fps} fps": "{fps} 帧/秒",
  Repeat: "重复",
  "Back and forth": "往返",
  Loop: "循环",
  Compare: "对比",
  "Show the keyframes on either side": "在两侧显示关键帧",
  Play: "播放",
  Pause: "暂停",
  "{action} (space)": "{action}（空格键）",
  "No frames yet": "还没有帧",
  "Frame {number} of {count}, position {position}": "第 {number} 帧，共 {count} 帧，位置 {position}",
  "Keyframe {number}": "关键帧 {number}",
  "Frame {number} could not be loaded": "第 {number} 帧无法加载",
  "Frame {number} is yet to come": "第 {number} 帧尚未生成",
  "Loading…": "加载中…",
  Candidates: "候选",
  "Candidate {number}, score {score}": "候选 {number}，分数 {score}",
  "Frame {number}": "第 {number} 帧",
  "Frame {number} · keyframe": "第 {number} 帧 · 关键帧",
  "Frame {number} · depth {depth}": "第 {number} 帧 · 第 {depth} 层",
  "✓ best score": "✓ 最高分",
  "New noise": "新噪声",
  "Draw this frame's candidates from new noise in the next run":
    "下次运行时用新的噪声重新抽取这一帧的候选",
  Reset: "重置",
  "Leave this frame to the reranker again": "让重排序器重新决定这一帧",
  "best score": "最高分",
  "your pick": "你的选择",
  Run: "运行",
  "More options": "更多选项",
  "Fewer options": "更少选项",
  "Frames by denoise": "按 denoise 排列的帧",
  "Click on a frame, and Frame Bisector takes its denoise.":
    "点击一帧，Frame Bisector 就采用它的 denoise。",
  "max_denoise of {name} is now {denoise}.": "{name} 的 max_denoise 现在是 {denoise}。",
  "No Frame Bisector here can take it: select the one you mean.":
    "这里没有可采用它的 Frame Bisector：请选中你要的那个。",
  Save: "保存",
  "Save frames": "保存帧",
  "This frame (PNG)": "当前帧（PNG）",
  "All frames (ZIP)": "所有帧（ZIP）",
  "Animation (WebP)": "动图（WebP）",
  "Film (MP4)": "影片（MP4）",
  "Preparing the file…": "正在准备文件…",
  "Could not save: {reason}": "无法保存：{reason}",
  "These frames are gone: ComfyUI keeps those of a node's last runs until it is restarted.":
    "这些帧已不在：ComfyUI 只保留节点最近几次运行的帧，重新启动后清除。",
  "{count} frame": "{count} 帧",
  "{count} frames": "{count} 帧",
  "Stopped at {there} of {all}; Run goes on there.": "已停止：完成 {there} / {all}；再次运行会从这里继续。",
  "The next run makes {count} of {all} again.": "下次运行将重做 {all}中的 {count} 帧。",
  "picks has an entry that cannot be read: {entries}. A click on a candidate takes it out.":
    "picks 中有无法识别的内容：{entries}。点击一个候选即可将其移除。",
  "Inputs have changed since these frames were made.": "生成这些帧之后，输入已更改。",
  "Making frames: {done} of {count}": "正在生成帧：{done} / {count}",
  "Making frames: depth {depth} of {depths}, {done} of {count}":
    "正在生成帧：第 {depth} / {depths} 层，{done} / {count}",
  // what the nodes say of a run
  "The picture {name} was resized and cropped from {before} to {after}, the size of the first.":
    "图像 {name} 已从 {before} 缩放并裁剪为 {after}，即第一张图像的尺寸。",
  "The keyframes were cropped in the middle from {before} to {after}, which the VAE takes.":
    "关键帧已从 {before} 居中裁剪为 {after}，以适应 VAE。",
  "{preset} for {family}: {steps} steps, cfg {cfg}, denoise from {high} to {low}.":
    "{family} 的预设 {preset}：{steps} 步，cfg {cfg}，denoise 从 {high} 到 {low}。",
  "{candidates} candidates of {frames} frames, {evaluations} runs of the model.":
    "{frames} 帧共 {candidates} 个候选，模型运行 {evaluations} 次。",
  "At the speed of the last run this takes about {time}.": "按上次运行的速度约需 {time}。",
  "The pick {pick} is left out, since no frame is there; it counts again once one is.":
    "选定项 {pick} 被略过，因为该处没有帧；有帧时它重新生效。",
  "Without a reranker the candidate that is most like its neighbours is taken.":
    "没有重排序器时，选用与相邻帧最相似的候选。",
  "Without a reranker and a smoothness_weight each frame has one candidate.":
    "没有重排序器且 smoothness_weight 为 0 时，每一帧只有一个候选。",
};
